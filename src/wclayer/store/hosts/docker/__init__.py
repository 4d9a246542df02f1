"""The store of a Docker daemon on Windows: the windowsfilter graph driver, and the databases of layers and images."""

from wclayer.store.hosts.docker.store import DockerStore

__all__ = ["DockerStore"]
