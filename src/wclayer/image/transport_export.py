"""``ExportLayerToTar``: the folder of a layer becomes a layer tar, as hcsshim writes one.

A base layer is read where it lies. Any other is read as the transport folder that it is exported to: so one reader
decides what a diff layer's tar looks like, whoever made the folder.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from wclayer.formats.base import BaseLayerReader
from wclayer.formats.folder import sweep
from wclayer.formats.folder.staging import Staging
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.transport import LegacyLayerReader
from wclayer.formats.transport.exported import read_exported
from wclayer.formats.transport.item_reader import open_transport_folder
from wclayer.formats.transport.pour import LayerSource, pour_layer
from wclayer.formats.volume import Manifest, Volume
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.model import Buffer, Notices

__all__ = ["export_layer_to_tar", "export_transport_to_tar"]


def export_layer_to_tar(
    path: Path,
    write: Callable[[Buffer], object],
    *,
    is_base: bool,
    hard_links: bool = True,
    notices: Notices | None = None,
    scratch: Path | None = None,
) -> None:
    """Write the layer in the folder ``path`` as a tar through ``write``.

    ``is_base`` says that it has no parents. Without ``hard_links`` every name of a file is a file, as exporters before
    2023 wrote it, which gives another digest. A diff layer needs a place for its transport folder: ``scratch``, or the
    folder that ``path`` is in. After an error what was written is no layer; there is no end of archive then.
    """
    notices = Notices() if notices is None else notices
    with ExitStack() as held:
        layer = held.enter_context(open_layer_volume(path, notices=notices))
        reader: BaseLayerReader | LegacyLayerReader
        if is_base:
            reader = held.enter_context(BaseLayerReader(layer))
        else:
            place = path.absolute().parent if scratch is None else scratch.absolute()
            sweep(place)
            staging = Staging(place / f"{path.name[:40]}-transport")
            held.callback(staging.discard)
            (staging.path / "transport").mkdir()
            manifest = Manifest(staging.path / "manifest")
            transport = Volume(staging.path / "transport", manifest, label=str(path), notices=notices)
            held.callback(transport.close, commit=False)
            reader = held.enter_context(read_exported(layer, transport))
        _write(reader, write, notices, hard_links=hard_links)


def export_transport_to_tar(
    path: Path,
    write: Callable[[Buffer], object],
    *,
    hard_links: bool = True,
    lenient: bool = False,
    notices: Notices | None = None,
) -> None:
    """Write the transport folder ``path``, as ExportLayer left it, as a tar through ``write``."""
    notices = Notices() if notices is None else notices
    with open_transport_folder(path, notices) as volume, LegacyLayerReader(volume, lenient=lenient) as reader:
        _write(reader, write, notices, hard_links=hard_links)


def _write(reader: LayerSource, write: Callable[[Buffer], object], notices: Notices, *, hard_links: bool) -> None:
    tar = TarLayerWriter(write, notices=notices)
    pour_layer(reader, tar, hard_links=hard_links)
    tar.commit()
