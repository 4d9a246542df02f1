"""Is everything what it claims to be: blobs and DiffIDs of an image; databases, files and DiffIDs of what was unpacked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.formats.folder import LayerFolder, verify_folder, write_original
from wclayer.formats.tar import TarLayerReader
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.target import is_layer_folder
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import Notices
from wclayer.oci import LayerBlob, Limits, open_image

__all__ = ["LayerVerdict", "verify"]


@dataclass(slots=True)
class LayerVerdict:
    """One layer. ``problems`` is empty when all is well; ``checked`` says what was looked at."""

    layer: str
    diff_id: str | None
    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notices: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(
    target: str,
    *,
    platform: str | None = None,
    strict: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
) -> list[LayerVerdict]:
    """A verdict for each layer of ``target``, base first: an image, an unpacked image, or a layer folder."""
    path = Path(target)
    if UnpackedImage.is_one(path):
        image = UnpackedImage.load(path)
        folders = reversed(image.layers)
        return [_folder(one, diff_id) for one, diff_id in zip(folders, image.diff_ids, strict=True)]
    if is_layer_folder(path):
        return [_folder(path, None)]
    with open_image(target, platform, limits=limits) as opened:
        return [_blob(layer, limits, strict, progress) for layer in opened.layers]


def _blob(layer: LayerBlob, limits: Limits, strict: bool, progress: Progress) -> LayerVerdict:
    verdict = LayerVerdict(str(layer), str(layer.diff_id) if layer.diff_id else None)
    notices = Notices(strict=strict)
    progress.begin(str(layer), None)
    try:
        with layer.stream(limits=limits) as stream:
            for _ in TarLayerReader(watched(stream, progress, str(layer)), notices=notices):
                pass
            stream.finish()
            verdict.diff_id = str(stream.diff_id)
    except WclayerError as error:
        verdict.problems.append(str(error))
    finally:
        progress.end(str(layer))
    verdict.checked = ["tar"]
    if layer.descriptor is not None:
        verdict.checked += ["blob digest", "size"]
    if layer.diff_id is not None:
        verdict.checked.append("DiffID")
    verdict.notices = dict(notices.counts)
    return verdict


def _folder(path: Path, diff_id: str | None) -> LayerVerdict:
    verdict = LayerVerdict(path.name, diff_id, ["database", "files"])
    try:
        with LayerFolder(path) as folder:
            recorded = folder.facts.get("diff_id")
            verdict.diff_id = recorded if isinstance(recorded, str) else diff_id
            if diff_id is not None and recorded != diff_id:
                verdict.problems.append(f"the layer has the DiffID {recorded}, and the image lists {diff_id}")
            verdict.problems += [f"{finding.path}: {finding.detail}" for finding in verify_folder(folder)]
            verdict.notices = folder.notices()[0]
            if folder.header_record is not None and not verdict.problems:
                verdict.checked.append("DiffID")
                write_original(folder, lambda _piece: None)
    except WclayerError as error:
        verdict.problems.append(str(error))
    return verdict
