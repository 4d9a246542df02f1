"""The files of an image as layer items, and which of them the import of a layer made by itself.

What an import adds is known by what it looks like: files without times and descriptor, under the names that only it
gives; links of hives; folders of that kind above files, which the layer does not mention. What a layer says of them
itself looks otherwise and is the layer's.
"""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.layer_names import HIVES, LAYOUT, LAYOUT_MARKER
from wclayer.formats.cim.pouring import is_unsaid_descriptor, told_time
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.streams import CimStream
from wclayer.model import AlternateStream, Entry, HardLink, Metadata, Stream
from wclayer.ntfs.names import checked_path, checked_stream_name, fold

__all__ = ["added_by_import", "entry_of", "link_of", "metadata_of", "streams_of"]

_LAYOUT = fold(LAYOUT)
_BASES = {fold(hive.base_path): hive for hive in HIVES}


def metadata_of(file: CimFile) -> Metadata:
    """The metadata of ``file`` as its layer says it: what an image fills in is not said."""
    metadata = file.metadata
    descriptor = metadata.security_descriptor
    if descriptor is not None and is_unsaid_descriptor(descriptor):
        metadata.security_descriptor = None
    metadata.creation_time = told_time(file.creation_time)
    metadata.last_access_time = told_time(file.last_access_time)
    metadata.last_write_time = told_time(file.last_write_time)
    metadata.change_time = told_time(file.change_time)
    return metadata


def entry_of(file: CimFile, ordinal: int = -1) -> Entry:
    """``file`` as an entry; its data is read from the image when it is asked for.

    Raises UnsafeEntryError for a name that an image can hold and no layer may, as do the other two.
    """
    path, metadata = checked_path(file.path), metadata_of(file)
    if file.is_directory:
        return Entry(path, metadata, is_directory=True, ordinal=ordinal)
    main = file.default_stream
    if metadata.reparse is not None and (main.is_sparse or not main.size):
        return Entry(path, metadata, ordinal=ordinal, reported_size=main.size)
    return Entry(path, metadata, data=_stream(main), ordinal=ordinal)


def streams_of(file: CimFile, ordinal: int = -1) -> Iterator[AlternateStream]:
    """The alternate streams of ``file``."""
    for stream in file.streams:
        name = checked_stream_name(f":{stream.name}:$DATA", path=file.path)
        yield AlternateStream(file.path, name, _stream(stream), ordinal)


def link_of(file: CimFile, target: str, ordinal: int = -1) -> HardLink:
    """``file`` as another name of ``target``."""
    metadata = metadata_of(file)
    basic = Metadata(
        metadata.attributes,
        metadata.creation_time,
        metadata.last_access_time,
        metadata.last_write_time,
        metadata.change_time,
    )
    return HardLink(checked_path(file.path), target, basic, ordinal)


def added_by_import(image: CimImage, file: CimFile) -> bool:
    """Whether the import of a layer put ``file`` there, and not the layer."""
    if file.is_directory and _is_generated(file):
        return next(file.children(), None) is not None
    if file.path.count("/") > 1:
        return False
    path = fold(file.path)
    if path in _BASES and not file.is_directory:
        config = image.lookup(_BASES[path].config_path)
        return (config is not None and config.file_id == file.file_id) or _is_generated(file)
    if path == _LAYOUT and not file.is_directory:
        return _is_generated(file) and file.size == len(LAYOUT_MARKER) and b"".join(file.pieces()) == LAYOUT_MARKER
    return False


def _is_generated(file: CimFile) -> bool:
    record = file.record
    said = (
        *(record.creation_time, record.last_write_time, record.change_time, record.last_access_time),
        *(record.flags, record.ea_length, record.reparse_offset, record.stream_table_offset),
    )
    descriptor = file.security_descriptor
    return not any(said) and (descriptor is None or is_unsaid_descriptor(descriptor))


def _stream(stream: CimStream) -> Stream:
    if stream.is_sparse and stream.size:
        return Stream(stream.size, lambda _stored: iter(()), ())
    return Stream(stream.size, lambda _stored: stream.pieces())
