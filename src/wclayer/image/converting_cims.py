"""Images and layers poured into CIM images, and unpacked out of them.

Every layer becomes a fork of the one below, as hcsshim imports it: hives merged, the files that it keeps beside an
image beside it. The same image gives the same bytes, for the GUIDs are made of what the layers hold.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import FormatError, StoreError, UsageError, WclayerError
from wclayer.formats.cim.item_writer import CimItemWriter
from wclayer.formats.cim.layer_names import CIM_LAYERS, HIVES, CimLayer, layer_in
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.profiles import Profile
from wclayer.formats.folder import sweep
from wclayer.formats.folder.staging import Staging
from wclayer.formats.shaping import with_hard_links
from wclayer.image.cim_places import CIM_IMAGE_FILE, CIM_SCHEMA, is_cim_file
from wclayer.image.cim_writing import profile_for
from wclayer.image.layer_sources import LayerSource, LayerSources
from wclayer.image.places import folder_made
from wclayer.image.unpacked import CONFIG_FILE, MANIFEST_FILE
from wclayer.model import Entry, HardLink, LayerItem, Notices, copy_layer
from wclayer.ntfs.names import fold
from wclayer.oci import ImageConfig

__all__ = ["CimLayers", "convert_to_cims"]

_HIVES = frozenset(fold(hive.config_path) for hive in HIVES)


@dataclass(slots=True)
class CimLayers:
    """The images that were written, base first, with the DiffIDs of the layers where they are known."""

    cims: list[Path] = field(default_factory=list)
    diff_ids: list[str | None] = field(default_factory=list)


def convert_to_cims(sources: LayerSources, destination: Path, notices: Notices) -> CimLayers:
    """Write every layer of ``sources`` into ``destination``: a new folder, or the one file ``NAME.cim`` of one layer.

    One file holds the layer as it is; in a folder layers are imported as hcsshim does it. A base layer without its
    hives is written without that, with the notice ``hives-missing``. What is there already is a StoreError, and nothing
    is left when anything goes wrong.
    """
    if is_cim_file(destination):
        return _one_file(sources, destination, notices)
    top = destination.absolute()
    with folder_made(top.parent):
        sweep(top.parent)
        staging = Staging(top)
        try:
            folder = staging.path / "layers"  # not the locked folder itself, which cannot be renamed away
            folder.mkdir()
            _Writing(sources, folder, notices).run()
            try:
                folder.rename(top)  # replaces an empty folder, and nothing else
            except OSError as error:
                raise StoreError(f"cannot rename to {top}: {error.strerror}", hint="choose another place") from error
        finally:
            staging.discard()
    names = range(len(sources.layers))
    return CimLayers(
        [layer_in(destination, str(number)).cim for number in names], [layer.diff_id for layer in sources.layers]
    )


def _one_file(sources: LayerSources, cim: Path, notices: Notices) -> CimLayers:
    if len(sources.layers) != 1:
        raise UsageError(
            f"{sources.reference} has {len(sources.layers)} layers, and {cim.name} is one image",
            hint=f"name a folder for all of them, or flatten them: wclayer cim merge {cim} {sources.reference}",
        )
    (layer,) = sources.layers
    with folder_made(cim.absolute().parent):
        writer = CimItemWriter(cim, profile=_profile(sources), guid=_guid((layer,), cim.name), notices=notices)
        with writer:
            copy_layer(with_hard_links(layer.read()), writer)
    return CimLayers([cim], [layer.diff_id])


class _Writing:
    """The layers of one image on their way into ``folder``."""

    def __init__(self, sources: LayerSources, folder: Path, notices: Notices) -> None:
        self.sources = sources
        self.folder = folder
        self.notices = notices
        self.profile = _profile(sources)
        self.written: list[CimLayer] = []
        self.guids: list[str] = []
        self.has_hives = True

    def run(self) -> None:
        """Write all of them, and what tells of them."""
        (self.folder / CIM_LAYERS).mkdir()
        for number, source in enumerate(self.sources.layers):
            try:
                self._write(number, source)
            except WclayerError as error:
                error.layer = source.label  # not the folder that it would have been renamed from
                raise
        self._write_documents()

    def _write(self, number: int, source: LayerSource) -> None:
        layer = layer_in(self.folder, str(number))
        writer = CimLayerWriter(
            layer,
            parents=self.written[::-1],
            profile=self.profile if number == 0 else None,
            guid=_guid(self.sources.layers[: number + 1]),
            notices=self.notices,
        )
        with writer:
            hives: set[str] = set()
            copy_layer(_watching(with_hard_links(source.read()), hives), writer)
            if number == 0:
                self._look_at_hives(hives)
            writer.process = self.has_hives
        self.written.append(layer)
        self.guids.append(str(writer.written.guid) if writer.written else "")

    def _look_at_hives(self, hives: set[str]) -> None:
        missing = [hive.name for hive in HIVES if fold(hive.config_path) not in hives]
        if missing:
            self.has_hives = False
            detail = (
                f"the base layer has no {', '.join(missing)}: no hives are linked or merged, and Windows needs them"
            )
            self.notices.add("hives-missing", "Files/Windows/System32/config", detail)

    def _write_documents(self) -> None:
        sources = self.sources
        for name, raw in ((MANIFEST_FILE, sources.manifest), (CONFIG_FILE, sources.config)):
            if raw is not None:
                (self.folder / name).write_bytes(raw)
        document = {
            "schema": CIM_SCHEMA,
            "reference": sources.reference,
            "digest": sources.digest,
            "platform": sources.platform,
            "layers": [
                {"name": str(number), "diff_id": layer.diff_id, "guid": guid}
                for number, (layer, guid) in enumerate(zip(sources.layers, self.guids, strict=True))
            ],
        }
        (self.folder / CIM_IMAGE_FILE).write_text(json.dumps(document, indent=1) + "\n", "utf-8")


def _watching(items: Iterable[LayerItem], hives: set[str]) -> Iterator[LayerItem]:
    """The same items; the hives of a base layer that pass by go into ``hives``."""
    for item in items:
        if isinstance(item, Entry | HardLink) and (path := fold(item.path)) in _HIVES:
            hives.add(path)
        yield item


def _profile(sources: LayerSources) -> Profile:
    """The profile for the Windows that the image is of, as its configuration says."""
    if sources.config is None:
        return profile_for(None)
    try:
        return profile_for(None, ImageConfig.parse(sources.config).platform.os_version)
    except FormatError as error:
        raise error.locate(path=CONFIG_FILE) from None


def _guid(layers: Sequence[LayerSource], name: str = "") -> uuid.UUID | None:
    """The GUID of the last of these layers: the same for the same layers; None, a random one, where that is unknown.

    ``name`` tells images of one layer in one folder apart.
    """
    state = hashlib.sha256(b"wclayer CIM layer " + name.encode("utf-8", "surrogateescape"))
    for layer in layers:
        if layer.diff_id is None:
            return None
        state.update(b"\0" + layer.diff_id.encode())
    return uuid.UUID(bytes=state.digest()[:16], version=4)
