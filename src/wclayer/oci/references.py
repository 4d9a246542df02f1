"""References to images, as skopeo spells them: ``transport:details``. Pure text; nothing is looked at on disk.

======================================  ========================================================
``oci:DIR[:NAME][@DIGEST]``             an OCI layout folder
``oci-archive:FILE[:NAME][@DIGEST]``    the same in a tar
``docker-archive:FILE[:NAME|:@INDEX]``  what ``docker save`` writes
``dir:DIR``                             skopeo's plain folder
``-``                                   a layer tar on standard input
anything else                           a path, or the name of an image in a registry
======================================  ========================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wclayer.errors import UsageError, WclayerError
from wclayer.oci.digests import Digest

__all__ = ["Reference", "Transport", "looks_like_registry", "names_registry", "parse_reference", "split_name"]

Transport: TypeAlias = Literal["oci", "oci-archive", "docker-archive", "dir", "path", "stdin", "registry", "daemon"]

_LOCAL: dict[str, Transport] = {"oci": "oci", "oci-archive": "oci-archive", "docker-archive": "docker-archive"}
_DAEMONS = ("docker-daemon", "containers-storage", "containerd", "ostree", "sif", "tarball")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]", re.ASCII)
# What is meant as a digest, even when it is a wrong one: "a@b:tag" is the folder "a@b".
_DIGEST = re.compile(r"@(sha[0-9]+:[A-Za-z0-9=_-]*|[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,})$", re.ASCII)
# The grammar of distribution/reference, with the name as a whole in lower case except for the host.
_REGISTRY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


# user:password@host/…, which is not to be repeated in a message; neither a transport nor a drive is a user.
_CREDENTIALS = re.compile(
    r"(?:docker:(?://)?|https?://)?"
    rf"(?!(?:{'|'.join((*_LOCAL, 'dir', 'store', *_DAEMONS))}):|[A-Za-z]:[\\/])[^/:@\s]+:[^/@\s]+@"
    r"(?:[^/@:\s]+\.[^/@:\s]+|localhost|\[[^/@\s]*\]|[^/@:\s]+(?=:[0-9]))(?::[0-9]{1,5})?(?:/|$)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is. ``str()`` gives it back in its canonical spelling.

    ``location`` is a path, or the whole name for ``registry`` and ``daemon``. ``name`` is the tag or full name inside
    the layout or archive, ``digest`` the digest of a manifest there, ``number`` the place in a docker archive, from 0.
    """

    transport: Transport
    location: str
    name: str = ""
    digest: Digest | None = None
    number: int | None = None

    def __str__(self) -> str:
        if self.transport in ("path", "stdin", "daemon"):
            return self.location
        if self.transport == "registry":
            return f"docker://{self.location}"
        text = f"{self.transport}:{self.location}"
        if self.name:
            text += f":{self.name}"
        if self.digest is not None:
            text += f"@{self.digest}"
        return text if self.number is None else f"{text}:@{self.number}"

    @property
    def tag(self) -> str:
        """The name within its place: the tag of an image in a registry. Empty when none is given."""
        return _split_tag(self.location)[1] if self.transport == "registry" else self.name

    def renamed(self, name: str) -> Reference:
        """What goes by ``name`` in the same place."""
        if self.transport == "registry":
            return Reference("registry", f"{_split_tag(self.location)[0]}:{name}")
        return Reference(self.transport, self.location, name)


def parse_reference(text: str) -> Reference:
    """The reference that ``text`` spells; UsageError when it spells none.

    A bare path comes back with the transport ``path``: only a look at the disk tells what it is, and whether it is not
    rather the name of an image in a registry (see :func:`looks_like_registry`).
    """
    if not text or "\0" in text:
        raise UsageError(f"not a reference to an image: {text!r}", hint="name a folder, a file, or oci:DIR:TAG")
    if text == "-":
        return Reference("stdin", "-")
    if _CREDENTIALS.match(text):
        raise UsageError(
            "a user name and a password do not belong into a reference",
            hint="use --username NAME and --password-stdin, or wclayer login",
        )
    transport, colon, details = text.partition(":")
    if colon and transport in _LOCAL:
        return _local(_LOCAL[transport], details, text)
    if colon and transport == "dir":
        if not details:
            raise UsageError(f"{text!r}: a folder is expected after dir:")
        return Reference("dir", details)
    if colon and transport == "docker":
        name = details.removeprefix("//")
        if not details.startswith("//") or not _REGISTRY.fullmatch(name):
            raise UsageError(f"not the name of an image: {text!r}", hint="write docker://HOST/NAME:TAG")
        return Reference("registry", name)
    if colon and transport in _DAEMONS:
        return Reference("daemon", text)
    return Reference("path", text)


def _local(transport: Transport, details: str, text: str) -> Reference:
    location, name = split_name(details)
    digest = None
    if transport == "docker-archive":
        if name.startswith("@"):
            if not re.fullmatch(r"@[0-9]{1,6}", name, re.ASCII):
                raise UsageError(f"{text!r}: a number is expected after @, not {name[1:]!r}")
            return Reference(transport, _location(location, text), number=int(name[1:]))
    elif name:
        name, digest = _split_digest(name, text)
    else:
        location, digest = _split_digest(location, text)
    return Reference(transport, _location(location, text), name, digest)


def _location(location: str, text: str) -> str:
    if not location:
        raise UsageError(f"{text!r}: a path is expected after the first colon")
    return location


def _split_digest(text: str, whole: str) -> tuple[str, Digest | None]:
    match = _DIGEST.search(text)
    if match is None:
        return text, None
    try:
        return text[: match.start()], Digest.parse(match[1])
    except WclayerError as error:
        raise UsageError(f"{whole!r}: {error.message}") from None


def _split_tag(location: str) -> tuple[str, str]:
    """The name of a repository, with the host, and the tag of an image in it."""
    path = location.partition("@")[0]
    head, slash, last = path.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{head}{slash}{name}", tag


def split_name(details: str) -> tuple[str, str]:
    """Split ``PATH[:NAME]`` at its first colon; those of a drive letter and of a digest do not count."""
    start = 2 if _DRIVE.match(details) else 0
    colon = details.find(":", start)
    if colon < 0:
        return details, ""
    at = details.rfind("@", start, colon)
    if at >= 0 and _DIGEST.fullmatch(details[at:]):
        return details, ""
    return details[:colon], details[colon + 1 :]


def looks_like_registry(text: str) -> bool:
    """Whether ``text`` follows the grammar of image names, so that it can be meant for a registry."""
    return bool(_REGISTRY.fullmatch(text))


def names_registry(text: str) -> bool:
    """Whether ``text`` names an image and the host of its registry: its first part is no namespace of Docker Hub."""
    host, slash, _ = text.partition("/")
    is_host = host == "localhost" or "." in host or ":" in host
    return bool(slash) and is_host and bool(_REGISTRY.fullmatch(text))
