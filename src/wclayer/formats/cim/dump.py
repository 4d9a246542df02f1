r"""An image as lines that two readers can compare: everything about each name, nothing about how it was found out.

One dictionary for each path in the order of :meth:`~wclayer.formats.cim.reader.CimImage.walk`, ready for JSON: binary
data is hexadecimal, times are FILETIMEs. The default stream and alternate ones are told by size and SHA-256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

from wclayer.formats.cim.structures import FILE_RECORD, POSITION_MASK

if TYPE_CHECKING:
    from wclayer.formats.cim.file import CimFile
    from wclayer.formats.cim.reader import CimImage
    from wclayer.formats.cim.streams import CimStream

__all__ = ["DumpLine", "DumpValue", "dump"]

DumpValue: TypeAlias = str | int | bool | list[dict[str, str | int | bool | None]] | None
DumpLine: TypeAlias = dict[str, DumpValue]


def dump(image: CimImage, *, contents: bool = True) -> Iterator[DumpLine]:
    r"""Everything about every name of ``image``.

    ``path`` is ``\``-separated, that of the root is ``""``. ``dataregion`` and ``dataoffset`` are the two parts of the
    default stream's pointer as it is stored: to the link table of a folder, to the structure of a PE image, 0 and 0 to
    nothing. ``sdoffset`` is a whole region offset, 0 when there is no descriptor. ``sd``, ``ea`` and ``reparse`` are
    ``""`` when there is none, as is the ``sha256`` of a folder; without ``contents`` every ``sha256`` is None. The
    names are counted first, so the image is walked twice. Raises what reading raises.
    """
    links = image.link_counts()
    for file in image.walk():
        yield _line(file, links[file.file_id], contents=contents)


def _line(file: CimFile, links: int, *, contents: bool) -> DumpLine:
    record = file.record
    stream = record.stream
    default = file.default_stream
    raw = file.raw_record
    no_content = "" if contents else None
    return {
        "path": file.path.replace("/", "\\"),
        "fileid": file.file_id,
        "parentfileid": file.parent_id,
        "baseregion": record.base_region_index,
        "dir": file.is_directory,
        "attributes": file.attributes,
        "flags": file.flags,
        "reparsetag": file.reparse_tag,
        "creation": file.creation_time,
        "lastwrite": file.last_write_time,
        "change": file.change_time,
        "lastaccess": file.last_access_time,
        "size": file.size,
        "sha256": no_content if file.is_directory else _digest(default, contents=contents),
        "streamtype": default.kind,
        "sparse": default.is_sparse,
        "dataregion": stream.data_offset >> 48,
        "dataoffset": stream.data_offset & POSITION_MASK,
        "sdoffset": record.sd_offset,
        "sd": (file.security_descriptor or b"").hex(),
        "ea": file.ea_bytes.hex(),
        "reparse": (file.reparse or b"").hex(),
        "streams": [
            {
                "name": alternate.name,
                "size": alternate.size,
                "sha256": _digest(alternate, contents=contents),
                "sparse": alternate.is_sparse,
            }
            for alternate in file.streams
        ],
        "nlinks": links,
        "entrysize": len(raw),
        "tail": raw[FILE_RECORD.size :].hex(),
    }


def _digest(stream: CimStream, *, contents: bool) -> str | None:
    if not contents:
        return None
    digest = hashlib.sha256()
    for piece in stream.pieces():
        digest.update(piece)
    return digest.hexdigest()
