r"""What Windows calls a layer: a GUID made of the name of its folder, and the descriptor that carries it.

``vmcompute.dll`` answers ``NameToGuid`` with a version 5 UUID (RFC 4122) of a namespace of its own over the UTF-16LE
name. The pairs of names and GUIDs that daemons have logged in public follow that rule without an exception; all of
those names are lower-case hexadecimal digits, so what Windows does with other letters is not known from them: here no
letter is changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from collections.abc import Iterable
from typing import Literal
from uuid import UUID

__all__ = [
    "LAYER_NAMESPACE",
    "descriptor_bytes",
    "layer_id",
    "layer_name",
    "name_to_guid",
    "new_guid",
    "shared_ids",
]

LAYER_NAMESPACE = UUID("800872c5-909c-403a-89c9-931fe5e2fd08")
"""The namespace of layer identities."""

_DESCRIPTOR = {64: struct.Struct("<16sI4xQ"), 32: struct.Struct("<16sII")}
_VOLUME = re.compile(r"[A-Za-z]:|[\\/]{2}[^\\/]+[\\/]+[^\\/]+")
_SEPARATORS = "\\/"


def name_to_guid(name: str) -> UUID:
    """``NameToGuid`` of vmcompute: the GUID of a name, which counts in exactly this spelling."""
    digest = hashlib.sha1(LAYER_NAMESPACE.bytes + name.encode("utf-16-le", "surrogatepass"), usedforsecurity=False)
    return UUID(bytes=digest.digest()[:16], version=5)


def layer_name(path: str | os.PathLike[str], *, trailing: Literal["strip", "keep"] = "strip") -> str:
    r"""The name that identifies the layer in the folder ``path``: the last element, behind the last ``\`` or ``/``.

    hcsshim takes ``C:\layers\4\`` for a layer with the empty name, as it takes every path that ends in a separator;
    ``trailing="keep"`` does the same. Here separators at the end do not count by default.
    """
    text = os.fspath(path)
    volume = _VOLUME.match(text)
    rest = text[volume.end() :] if volume else text
    if trailing == "strip":
        rest = rest.rstrip(_SEPARATORS)
    return rest[max(rest.rfind(separator) for separator in _SEPARATORS) + 1 :]


def layer_id(path: str | os.PathLike[str], *, trailing: Literal["strip", "keep"] = "strip") -> UUID:
    """``LayerID`` of hcsshim: the GUID of the layer in the folder ``path``, which need not exist.

    Only the last element counts, so layers in folders of one name share a GUID; see :func:`shared_ids`. A layer has to
    be used under the GUID under which it was imported, so its folder must not be renamed on Windows.
    """
    return name_to_guid(layer_name(path, trailing=trailing))


def shared_ids(paths: Iterable[str | os.PathLike[str]]) -> dict[UUID, list[str]]:
    """The GUIDs that more than one of ``paths`` would have, with those paths."""
    found: dict[UUID, list[str]] = {}
    for path in paths:
        found.setdefault(layer_id(path), []).append(os.fspath(path))
    return {guid: same for guid, same in found.items() if len(same) > 1}


def new_guid(source: str) -> UUID:
    """``hcsshim.NewGUID``, which is another thing: the first 16 bytes of the SHA-1 of ``source`` as a Windows GUID."""
    return UUID(bytes_le=hashlib.sha1(source.encode(), usedforsecurity=False).digest()[:16])


def descriptor_bytes(guid: UUID, pointer: int, *, flags: int = 0, bits: Literal[32, 64] = 64) -> bytes:
    """A ``WC_LAYER_DESCRIPTOR`` as it lies in memory: GUID, flags, and the address of the path (UTF-16, with a NUL).

    Bit 31 of ``flags`` means "made from a scratch layer by a snapshot"; hcsshim always passes 0.
    """
    return _DESCRIPTOR[bits].pack(guid.bytes_le, flags, pointer)
