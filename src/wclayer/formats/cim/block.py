"""Images on a block device or in a single file, verified and merged ones: what is publicly known of them.

Windows can put an image into one file or onto a disk ("block CIM"), protect it with a root hash ("verified"), and make
an image of nothing but merged metadata of several others ("merged"). How such a container is laid out has not been
published, so none is read or written here. Known is what hcsshim adds around it: a footer that makes the file a fixed
virtual disk, and the root hash in a text file beside it. That is read, and everything else refused, with the command
that does it on Windows.

Sources: hcsshim ``pkg/cimfs``, ``pkg/ociwclayer/cim``, ``ext4/tar2ext4`` (footer); Virtual Hard Disk Image Format
Specification 1.0.
"""

from __future__ import annotations

import os
import re
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NoReturn, Self, TypeAlias

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError, UsageError
from wclayer.formats.cim.reader import read_header
from wclayer.formats.cim.structures import MAGIC

__all__ = ["FOOTER_SIZE", "BlockAction", "BlockImage", "VhdFooter", "merge_block_images", "refuse_block"]

FOOTER_SIZE: Final = 512

BlockAction: TypeAlias = Literal["read", "write", "merge", "utility-vm"]
"""What is wanted of a container: to read it, to write a layer as one, to merge several, to make one that boots."""

_COOKIE: Final = b"conectix"
_FIXED_DISK: Final = 2
_FOOTER = struct.Struct(">8sIIqI4sI4sqqIII16sB427x")
_CHECKSUM_AT: Final = 64
_CHECKSUM_FILES: Final = ("integrity_checksum", "merged_integrity_checksum")
_ROOT_HASH = re.compile(rb"[0-9a-f]{64}").fullmatch

_COMMANDS: Final[dict[BlockAction, tuple[str, str]]] = {
    "read": (
        "an image in a block device or a single file cannot be read: its layout has not been published",
        "on Windows, CimConvertBlockImage of cimfs.dll turns it into an image of files, which can be read",
    ),
    "write": (
        "an image in a block device or a single file cannot be written: its layout has not been published",
        "on Windows: ctr image pull --snapshotter blockcim IMAGE; here: make an image of files",
    ),
    "merge": (
        "a merged image cannot be written: its layout has not been published",
        "on Windows: ctr image pull --snapshotter blockcim IMAGE; here: flatten the layers into one image of files",
    ),
    "utility-vm": (
        "a bootable image of a utility VM cannot be written: its layout has not been published",
        "on Windows: mkuvmcim -layer LAYER.tar.gz -dest DIR",
    ),
}


def refuse_block(action: BlockAction, path: Path | None = None) -> UnsupportedError:
    """The error for ``action``, to be raised; it says what does it on Windows."""
    message, hint = _COMMANDS[action]
    return UnsupportedError(message, image=str(path) if path is not None else None, hint=hint)


def merge_block_images(sources: Sequence[Path], target: Path) -> NoReturn:
    """Make ``target`` the merged image of ``sources``, nearest first: what hcsshim asks of Windows.

    Raises UsageError for fewer than two sources or a target that is there, and UnsupportedError otherwise.
    """
    if len(sources) < 2:
        raise UsageError(f"need at least 2 source CIMs, got {len(sources)}")
    if target.exists():
        raise UsageError(f"{target} exists")
    raise refuse_block("merge", target)


@dataclass(frozen=True, slots=True)
class VhdFooter:
    """The footer of a fixed virtual disk: the disk has ``size`` bytes, and ``unique_id`` names it."""

    size: int
    unique_id: uuid.UUID

    @classmethod
    def unpack(cls, data: bytes) -> Self | None:
        """The footer in the last 512 bytes of a file; None when they are none.

        Raises FormatError for a footer of another kind of disk, and for one that is damaged.
        """
        if len(data) != FOOTER_SIZE or not data.startswith(_COOKIE):
            return None
        fields = _FOOTER.unpack(data)
        size, kind, checksum, unique_id = fields[9], fields[11], fields[12], fields[13]
        found = ~(sum(data) - sum(data[_CHECKSUM_AT : _CHECKSUM_AT + 4])) & 0xFFFFFFFF
        if found != checksum:
            raise FormatError(f"the footer has the checksum {checksum:08x} instead of {found:08x}", kind="vhd-footer")
        if kind != _FIXED_DISK:
            raise FormatError(
                f"a virtual disk of type {kind}, where hcsshim makes fixed ones, type 2", kind="vhd-footer"
            )
        return cls(size, uuid.UUID(bytes=unique_id))

    def pack(self) -> bytes:
        """The 512 bytes, as hcsshim writes them."""
        head = (_COOKIE, 2, 0x00010000, -1, 0, bytes(4), 0x000A0000, bytes(4), self.size, self.size, 0, _FIXED_DISK)
        data = _FOOTER.pack(*head, 0, self.unique_id.bytes, 0)
        return _FOOTER.pack(*head, ~sum(data) & 0xFFFFFFFF, self.unique_id.bytes, 0)


@dataclass(frozen=True, slots=True)
class BlockImage:
    """What can be told of the container ``path``.

    ``size`` is that of the container in bytes, without the footer that makes it a virtual disk. ``root_hash`` is the
    one in the file beside it, which hcsshim wrote when the image was verified; nothing here can check it.
    """

    path: Path
    size: int
    footer: VhdFooter | None
    root_hash: bytes | None

    @classmethod
    def inspect(cls, path: Path) -> Self:
        """Look at what is around the container.

        Raises UsageError for an image of files, NotFoundError, StoreError, FormatError for a footer that is damaged or
        does not fit the file.
        """
        try:
            with path.open("rb") as file:
                head = file.read(len(MAGIC))
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - FOOTER_SIZE, 0))
                end = file.read(FOOTER_SIZE)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no {path}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        if head == MAGIC:
            read_header(path)
            raise UsageError(f"{path} is an image of files, not one in a single file")
        try:
            footer = VhdFooter.unpack(end)
        except FormatError as error:
            raise error.locate(image=str(path)) from None
        if footer is not None:
            size -= FOOTER_SIZE
            if footer.size != size:
                raise FormatError(
                    f"the footer is that of a disk of {footer.size} bytes, and there are {size}",
                    kind="vhd-footer",
                    image=str(path),
                )
        return cls(path, size, footer, _root_hash(path))


def _root_hash(path: Path) -> bytes | None:
    for name in _CHECKSUM_FILES:
        try:
            with path.with_name(name).open("rb") as file:
                text = file.read(65)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StoreError(f"cannot read {path.with_name(name)}: {error.strerror}") from error
        if not _ROOT_HASH(text):
            raise FormatError(f"{name} holds {text!r} instead of a root hash", kind="root-hash", image=str(path))
        return bytes.fromhex(text.decode("ascii"))
    return None
