"""Names of images in registries: ``HOST/REPOSITORY:TAG@DIGEST``, with what Docker leaves out filled in.

The grammar is that of the distribution specification and of distribution/reference: without a host the image is one of
Docker Hub, there without a namespace in ``library/``, and without tag and digest it is ``latest``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from wclayer.errors import UsageError, WclayerError
from wclayer.oci.digests import Digest

__all__ = ["DOCKER_HUB", "RegistryName", "is_tag", "parse_registry_host", "parse_registry_name"]

DOCKER_HUB = "docker.io"
"""The name of Docker Hub in canonical names; its registry and its accounts have other addresses."""

_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_DEFAULT_TAG = "latest"
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\.?"
    r"|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?",
    re.ASCII,
)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_LONGEST = 4096
_LONGEST_REPOSITORY = 255


@dataclass(frozen=True, slots=True)
class RegistryName:
    """An image, or a repository, of a registry. ``str()`` is the canonical name.

    ``host`` is ``docker.io`` or the address with its port, ``repository`` the path below it. With a ``digest`` the tag
    is what people call it; only the digest counts.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.host}/{self.repository}{tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def reference(self) -> str | Digest:
        """What a registry is asked for: the digest, or the tag."""
        return self.digest or self.tag or _DEFAULT_TAG

    @property
    def repository_name(self) -> str:
        """The name without tag and digest."""
        return f"{self.host}/{self.repository}"

    def at(self, reference: str | Digest) -> RegistryName:
        """The same repository with another tag or digest."""
        if isinstance(reference, Digest):
            return replace(self, tag=None, digest=reference)
        return replace(self, tag=reference, digest=None)


def parse_registry_name(text: str) -> RegistryName:
    """The image that ``text`` names, with or without ``docker://`` before it; UsageError when it names none."""
    name = text.removeprefix("docker://")
    if len(name) > _LONGEST:
        raise UsageError(f"not the name of an image: {len(name)} characters")
    rest, at, digest_text = name.partition("@")
    digest = _digest(digest_text, text) if at else None
    host, rest = _split_host(rest)
    repository, colon, tag_text = rest.partition(":")
    if colon and not is_tag(tag_text):
        raise UsageError(f"{text!r}: not a tag: {tag_text!r}", hint="letters, digits, _ . - and at most 128 of them")
    if not _REPOSITORY.fullmatch(repository):
        raise _bad(text, repository)
    if host == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if len(repository) > _LONGEST_REPOSITORY:
        raise UsageError(f"{text[:80]!r}…: a repository has at most {_LONGEST_REPOSITORY} characters")
    tag = tag_text if colon else None if digest else _DEFAULT_TAG
    return RegistryName(host, repository, tag, digest)


def parse_registry_host(text: str) -> str:
    """The registry that ``text`` names, as people type it: with or without scheme and ``/v1/``; UsageError."""
    host = re.sub(r"\A(?:https?|docker)://", "", text, flags=re.ASCII)
    host = re.sub(r"/(?:v[12]/?)?\Z", "", host, flags=re.ASCII)
    if not _is_host(host):
        raise UsageError(f"not the address of a registry: {text!r}", hint="write HOST or HOST:PORT")
    return _canonical_host(host)


def is_tag(text: str) -> bool:
    """Whether ``text`` can be a tag."""
    return bool(_TAG.fullmatch(text))


def _split_host(text: str) -> tuple[str, str]:
    """The host, and the rest; a first part without dot and colon is a namespace of Docker Hub."""
    first, slash, rest = text.partition("/")
    if slash and (first.lower() == "localhost" or any(c in first for c in ".:[")):
        if not _is_host(first):
            raise UsageError(
                f"not the address of a registry: {first!r}", hint="write HOST/NAME:TAG or HOST:PORT/NAME:TAG"
            )
        return _canonical_host(first), rest
    return DOCKER_HUB, text


def _is_host(text: str) -> bool:
    if not _HOST.fullmatch(text) or len(text) > 255 + 6:
        return False
    port = text.rpartition(":")[2] if re.search(r":[0-9]+\Z", text.rpartition("]")[2] or text, re.ASCII) else ""
    return not port or 0 < int(port) < 65536


def _canonical_host(host: str) -> str:
    host = host.lower()
    return DOCKER_HUB if host in _HUB_NAMES else host


def _digest(digest_text: str, whole: str) -> Digest:
    try:
        return Digest.parse(digest_text)
    except WclayerError as error:
        raise UsageError(f"{whole[:200]!r}: {error.message}") from None


def _bad(text: str, repository: str) -> UsageError:
    hint = "write HOST/NAME:TAG, the name in lower case"
    if repository.lower() != repository:
        hint = f"names are in lower case: {repository.lower()}"
    return UsageError(f"not the name of an image: {text[:200]!r}", hint=hint)
