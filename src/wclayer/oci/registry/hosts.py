"""Which hosts are asked for a repository, in which order, and how each is reached.

A registry is one address; ``certs.d`` may put mirrors before it, or another server in its place. A mirror that must not
be trusted with names (no ``resolve``) is asked for content only, which its digest vouches for; nothing is ever pushed
to a host without ``push``, nor to a mirror because the server failed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from wclayer.errors import UsageError
from wclayer.oci.registry.addresses import is_loopback_host
from wclayer.oci.registry.hosts_toml import CAPABILITIES, HostEntry, default_folders, find_folder, read_folder
from wclayer.oci.registry.http import Route
from wclayer.oci.registry.names import DOCKER_HUB
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.oci.registry.tls import ClientCertificate, TlsSettings

__all__ = ["Host", "hosts_of", "origin"]

_HUB_SERVER = "registry-1.docker.io"


@dataclass(frozen=True, slots=True)
class Host:
    """A host that answers for ``registry``. ``base`` is the address of its API without the slash at the end.

    ``name`` is the host with its port, which credentials are kept under. ``may_switch`` is true when the scheme was
    only guessed, so that a host of this machine that speaks TLS is believed.
    """

    registry: str
    base: str
    name: str
    route: Route
    capabilities: frozenset[str] = CAPABILITIES
    headers: tuple[tuple[str, str], ...] = ()
    is_mirror: bool = False
    may_switch: bool = False

    @property
    def origin(self) -> str:
        """Scheme, host and port: what credentials may be sent to."""
        return origin(self.base)

    @property
    def is_secure(self) -> bool:
        """Whether it is reached by https."""
        return self.base.startswith("https:")

    def url(self, path: str) -> str:
        """The address of ``path`` below the API; a mirror is told which registry it stands for."""
        address = f"{self.base}/{path}"
        return f"{address}{'&' if '?' in path else '?'}ns={self.registry}" if self.is_mirror else address


def origin(url: str) -> str:
    """Scheme, host and port of ``url``, the port always there; empty for what is no address."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def hosts_of(registry: str, settings: RegistrySettings) -> tuple[Host, ...]:
    """The hosts for ``registry`` (``HOST[:PORT]`` or ``docker.io``): mirrors first, its server last.

    Raises UsageError, and what reading ``certs.d`` raises.
    """
    folders = [settings.hosts_dir] if settings.hosts_dir else list(default_folders(os.environ))
    folder = find_folder(registry, folders)
    if folder is None and registry == DOCKER_HUB:
        folder = find_folder(_HUB_SERVER, folders)
    if folder is None:
        return (_host(registry, HostEntry(""), settings, is_server=True),)
    file = read_folder(folder)
    mirrors = [_host(registry, entry, settings, is_server=False) for entry in file.mirrors]
    server = _host(registry, file.server, settings, is_server=True)
    # A host that is listed and is the server too is asked once, as it is listed, and is no mirror.
    return (*(mirror for mirror in mirrors if mirror.base != server.base), server)


def _host(registry: str, entry: HostEntry, settings: RegistrySettings, *, is_server: bool) -> Host:
    own = _HUB_SERVER if registry == DOCKER_HUB else registry
    address = entry.address or own
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "", address
    name, _, path = rest.partition("/")
    has_tls = settings.has_tls_options or bool(entry.ca_files or entry.client or entry.skip_verify)
    may_switch = False
    if not scheme or (is_server and settings.plain_http is not None):
        scheme, may_switch = _scheme(name, settings, has_tls=has_tls)
    if scheme not in ("http", "https") or not _is_netloc(name):
        raise UsageError(f"not the address of a registry: {address!r}")
    path = path.strip("/")
    if not entry.override_path and path != "v2" and not path.startswith("v2/"):
        path = f"{path}/v2".lstrip("/")
    base = f"{scheme}://{name}/{path}".rstrip("/")
    return Host(
        registry=registry,
        base=base,
        name=name.lower(),
        route=_route(entry, settings, is_server=is_server),
        capabilities=entry.capabilities,
        headers=entry.headers,
        is_mirror=origin(base) != origin(f"{scheme}://{own}"),
        may_switch=may_switch,
    )


def _is_netloc(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname) and parts.username is None and parts.port != 0 and text.isascii()
    except ValueError:
        return False


def _scheme(name: str, settings: RegistrySettings, *, has_tls: bool) -> tuple[str, bool]:
    """The scheme for ``name``, and whether it was guessed."""
    if settings.plain_http is not None:
        return ("http" if settings.plain_http else "https"), False
    local = is_loopback_host(urlsplit(f"//{name}").hostname or "")
    return ("http", True) if local and not has_tls else ("https", False)


def _route(entry: HostEntry, settings: RegistrySettings, *, is_server: bool) -> Route:
    authorities = entry.ca_files + ((settings.ca_file,) if settings.ca_file else ())
    client = entry.client
    if settings.cert is not None and is_server:  # a person's own certificate is for whom it was asked for
        client = ClientCertificate(settings.cert, settings.key)
    tls = TlsSettings(authorities, client, verify=not (settings.insecure or entry.skip_verify))
    return Route(tls, entry.proxy, connect_timeout=entry.dial_timeout)
