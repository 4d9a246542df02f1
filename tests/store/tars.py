"""Layer tars made of items, and the tree a layer shows."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from wclayer.formats.tar import TarLayerWriter
from wclayer.model import LayerItem, copy_layer
from wclayer.store.driver import WindowsFilterDriver

__all__ = ["add", "diff_id", "tar", "tar_bytes", "tree"]


def tar_bytes(items: Iterable[LayerItem]) -> bytes:
    """A layer tar."""
    file = io.BytesIO()
    with TarLayerWriter(file.write, policy="faithful") as writer:
        copy_layer(items, writer)
    return file.getvalue()


def tar(items: Iterable[LayerItem]) -> io.BytesIO:
    """The same, to be read."""
    return io.BytesIO(tar_bytes(items))


def diff_id(items: Iterable[LayerItem]) -> str:
    """Its digest."""
    return f"sha256:{hashlib.sha256(tar_bytes(items)).hexdigest()}"


def add(driver: WindowsFilterDriver, name: str, parent: str, items: Iterable[LayerItem]) -> int:
    """Make a layer, and fill it; the sum of the sizes of its files."""
    driver.create(name, parent)
    return driver.apply_diff(name, parent, tar(items)).size


def tree(root: Path) -> dict[str, bytes | None]:
    """What is below ``root``: data of files, None for folders."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
    }
