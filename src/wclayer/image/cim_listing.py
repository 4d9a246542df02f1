r"""What is in a CIM image, by its own paths: folders listed, files described and read, the image itself told about.

The paths are those of the image, from its root, in any case, with ``/`` or ``\``: of a layer that is ``Files\Windows``.
The image is read where it lies, so listing one folder of a large image costs one folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.formats.cim.block import BlockImage, refuse_block
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.files import cim_usage, forks_of
from wclayer.formats.cim.image_items import metadata_of
from wclayer.formats.cim.layer_reader import parent_of
from wclayer.formats.cim.pouring import told_time
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.regions import KIND_NAMES
from wclayer.image.cim_places import find_cims
from wclayer.image.describe import metadata_document
from wclayer.model import Buffer
from wclayer.ntfs import attributes as file_attributes
from wclayer.ntfs import filetime, reparse
from wclayer.ntfs.names import fold

__all__ = [
    "CimRow",
    "block_facts",
    "cim_facts",
    "describe_cim_file",
    "is_block_image",
    "list_cim",
    "open_cim",
    "read_cim_file",
]

_LINKS = {reparse.IO_REPARSE_TAG_SYMLINK: "symlink", reparse.IO_REPARSE_TAG_MOUNT_POINT: "junction"}


class CimRow(NamedTuple):
    """One line of a listing.

    ``kind`` is ``directory``, ``file``, ``symlink``, ``junction`` or ``reparse``; ``size`` that of the main stream in
    bytes, None for a folder; ``last_write_time`` ISO text with 100 ns digits, None where the image does not say;
    ``target`` what a link leads to. Names of one file have one ``file_id``.
    """

    path: str
    kind: str
    size: int | None
    attributes: int
    attribute_letters: str
    last_write_time: str | None
    target: str | None
    file_id: int


def open_cim(path: Path, *, version_1: bool = False) -> CimImage:
    """Open the image ``path``; of a folder of images the top one. The caller closes it.

    Raises UnsupportedError, with what to do on Windows, for an image in a single file, and what reading raises.
    """
    if path.is_dir():
        path = find_cims(path).top.cim
    try:
        return CimImage.open(path, version_1=version_1)
    except FormatError as error:
        if error.kind != "cim-header" or not is_block_image(path):
            raise
    raise refuse_block("read", path)


def is_block_image(path: Path) -> bool:
    """Whether ``path`` is no image of files, and has the footer or the root hash of one in a single file."""
    try:
        block = BlockImage.inspect(path)
    except (FormatError, UnsupportedError, UsageError):
        return False
    return block.footer is not None or block.root_hash is not None


def list_cim(image: CimImage, path: str = "", *, recursive: bool = False, itself: bool = False) -> Iterator[CimRow]:
    """The rows of what is in the folder ``path``, or of the file there; with ``itself`` of the folder.

    With ``recursive`` everything below, each folder before what is in it. Raises NotFoundError.
    """
    start = _find(image, path)
    if itself or not start.is_directory:
        yield _row(start)
        return
    pending = [start.children()]
    seen = {start.file_id}
    while pending:
        for child in pending[-1]:
            yield _row(child)
            if recursive and child.is_directory and child.file_id not in seen:
                seen.add(child.file_id)
                pending.append(child.children())
                break
        else:
            pending.pop()


def read_cim_file(image: CimImage, path: str, write: Callable[[Buffer], object], *, stream: str | None = None) -> None:
    """Hand the data of the file ``path``, or of its alternate stream ``stream``, to ``write``. Links are not followed.

    Raises NotFoundError, UsageError for a folder.
    """
    file = _find(image, path)
    if stream is None:
        if file.is_directory:
            raise UsageError(f"{_shown(file.path)} is a folder", hint="list it: wclayer cim ls FILE.cim PATH")
        for piece in file.pieces():
            write(piece)
        return
    wanted = fold(stream).removeprefix(":").removesuffix(":$DATA")
    streams = file.streams
    for one in streams:
        if fold(one.name) == wanted:
            for piece in one.pieces():
                write(piece)
            return
    there = ", ".join(one.name for one in streams) or "none"
    raise NotFoundError(f"{_shown(file.path)} has no stream {stream}; it has {there}")


def describe_cim_file(image: CimImage, path: str = "") -> dict[str, Any]:
    """Everything that the image says of the file or folder ``path``, as plain values. Raises NotFoundError."""
    file = _find(image, path)
    stream = None if file.is_directory else file.default_stream
    names = sorted({one.path for one in image.walk() if one.file_id == file.file_id}) if stream else [file.path]
    offset = stream.record.data_offset if stream is not None and file.size and not stream.is_sparse else 0
    return {
        "path": file.path,
        "kind": _kind(file),
        "file_id": file.file_id,
        "parent_id": file.parent_id,
        "names": names,
        "size": None if stream is None else file.size,
        "data": None
        if stream is None
        else {
            "type": stream.kind,
            "sparse": stream.is_sparse,
            "region": offset >> 48 if offset else None,
            "offset": offset & ((1 << 48) - 1) if offset else None,
        },
        "flags": file.flags,
        **metadata_document(metadata_of(file)),
        "streams": [{"name": one.name, "size": one.size} for one in file.streams],
        "record_size": len(file.raw_record),
        "record_tail": file.tail.hex(),
    }


def cim_facts(image: CimImage) -> dict[str, Any]:
    """What there is to know of an image as a whole: its version, regions, parents, and what is in it, counted."""
    kinds: Counter[str] = Counter()
    files: dict[int, int] = {}
    streams = 0
    for file in image.walk():
        kinds[_kind(file)] += 1
        if not file.is_directory:
            if file.file_id not in files:
                streams += len(file.streams)
            files[file.file_id] = file.size
    path = Path(image.path)
    parent = _parent_name(image)
    major, minor = image.version
    return {
        "path": str(path),
        "form": "files",
        "guid": str(image.guid),
        "version": f"{major}.{minor}",
        "entry_size": len(image.root.raw_record),
        "parent": parent,
        "parents": [str(one.guid) for one in image.header.parents],
        "forks": [one.name for one in forks_of(path)],
        "regions": [
            {
                "name": region.name,
                "kind": KIND_NAMES.get(region.header.kind, str(region.header.kind)),
                "own": region.own,
                "size": region.size,
            }
            for region in image.regions.regions
        ],
        "usage": cim_usage(path),
        "directories": kinds.pop("directory", 0),
        "names": sum(kinds.values()),
        "files": len(files),
        "links": kinds["symlink"] + kinds["junction"] + kinds["reparse"],
        "streams": streams,
        "size": sum(files.values()),
    }


def _parent_name(image: CimImage) -> str | None:
    """The file name of the image that this one is a fork of; None when it is none, and when that is not there."""
    if not image.header.parents:
        return None
    try:
        parent = parent_of(Path(image.path))
    except (NotFoundError, UnsupportedError):
        return None
    return None if parent is None else parent.name


def block_facts(path: Path) -> dict[str, Any]:
    """What is known of an image in a single file. Raises what looking at it raises."""
    block = BlockImage.inspect(path)
    return {
        "path": str(path),
        "form": "block",
        "size": block.size,
        "footer": block.footer is not None,
        "root_hash": None if block.root_hash is None else block.root_hash.hex(),
    }


def _find(image: CimImage, path: str) -> CimFile:
    found = image.lookup("/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", ".")))
    if found is None:
        raise NotFoundError(f"there is no {_shown(path)} in the image", image=str(image.path))
    return found


def _shown(path: str) -> str:
    return path.replace("/", "\\") or "\\"


def _kind(file: CimFile) -> str:
    if file.reparse_tag or file.record.reparse_offset:
        return _LINKS.get(file.reparse_tag, "reparse")
    return "directory" if file.is_directory else "file"


def _row(file: CimFile) -> CimRow:
    kind = _kind(file)
    written = told_time(file.last_write_time)
    target = None
    if kind in ("symlink", "junction"):
        target = reparse.link_target(file.reparse or b"")
    attributes = file.attributes
    return CimRow(
        file.path,
        kind,
        None if file.is_directory else file.size,
        attributes,
        file_attributes.letters(attributes),
        None if written is None else filetime.to_text(written),
        target,
        file.file_id,
    )
