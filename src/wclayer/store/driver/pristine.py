"""The boot configuration of a utility VM as the layer brought it.

Importing a layer on Windows rewrites these files, so Docker keeps copies of them at the top of the layer, and takes
those when it writes the tar of the layer again. Here nothing rewrites them, and the copies are kept all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wclayer.errors import LimitError
from wclayer.model import Buffer, Entry, LayerItem, Stream
from wclayer.ntfs.names import fold

__all__ = ["PRISTINE_COPIES", "copies_kept", "copy_name"]

PRISTINE_COPIES = {
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD": "bcd.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG": "bcd.log.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG1": "bcd.log1.bak",
    "UtilityVM/Files/EFI/Microsoft/Boot/BCD.LOG2": "bcd.log2.bak",
}
"""Layer paths, each with the name of its copy."""

_FOLDED = {fold(path): name for path, name in PRISTINE_COPIES.items()}
_LIMIT = 64 << 20


def copy_name(path: str) -> str | None:
    """The name of the copy of the layer path ``path``, in any case of letters; None for all other files."""
    return _FOLDED.get(fold(path))


def copies_kept(items: Iterable[LayerItem], copies: dict[str, bytes]) -> Iterator[LayerItem]:
    """``items`` unchanged, with the data of those files put into ``copies`` when their streams have been read.

    Raises LimitError for one of more than 64 MiB.
    """
    for item in items:
        name = copy_name(item.path) if isinstance(item, Entry) else None
        if name is None or not isinstance(item, Entry) or item.data is None:
            yield item
            continue
        data = item.data
        if data.size > _LIMIT:
            raise LimitError(f"a boot configuration of {data.size} bytes", path=item.path)
        gathered = bytearray()
        item.data = Stream(data.size, _teed(data, gathered))
        yield item
        copies[name] = bytes(gathered)


def _teed(data: Stream, gathered: bytearray) -> Callable[[int], Iterator[Buffer]]:
    def source(_stored: int) -> Iterator[Buffer]:
        for piece in data.pieces():
            gathered.extend(piece)
            yield piece

    return source
