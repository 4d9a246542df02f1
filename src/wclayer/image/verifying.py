"""Is everything what it claims to be: the digests of an image; databases, files and digests of what was unpacked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.folder import LayerFolder, verify_folder, write_original
from wclayer.formats.tar import TarLayerReader
from wclayer.image.chain import find_parents, is_layer_folder
from wclayer.image.cim_places import find_cims
from wclayer.image.places import CIM_PREFIX
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.target import cim_path
from wclayer.image.unpacked import CONFIG_FILE, MANIFEST_FILE, UnpackedImage, refuse_unfinished
from wclayer.model import Notice, Notices
from wclayer.oci import LayerBlob, Limits, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.network import Network

__all__ = ["LayerVerdict", "Verdict", "verify"]


@dataclass(slots=True)
class LayerVerdict:
    """One layer. ``problems`` is empty when all is well; ``checked`` says what was looked at."""

    layer: str
    diff_id: str | None
    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


@dataclass(slots=True)
class Verdict:
    """All of it: ``layers`` are base first, ``problems`` those of the documents that belong to no layer."""

    layers: list[LayerVerdict]
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and all(layer.ok for layer in self.layers)


def verify(
    target: str,
    *,
    platform: str | None = None,
    strict: bool = False,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
    network: Network | None = None,
) -> Verdict:
    """Look at ``target``: an image, an unpacked image, a layer folder or ``cim:…``; if ``strict`` the odd is a problem.

    Raises what opening it raises; what is wrong with its content is in the verdict.
    """
    path = Path(target)
    if target.startswith(CIM_PREFIX):
        layers = find_cims(cim_path(target)).layers
        progress.expect(len(layers), None)
        return Verdict([_cim(layer.cim, strict, progress) for layer in layers])
    if UnpackedImage.is_one(path):
        image = UnpackedImage.load(path)
        progress.expect(len(image.layers), None)
        pairs = zip(reversed(image.layers), image.diff_ids, strict=True)
        return Verdict([_folder(one, diff_id, strict, progress) for one, diff_id in pairs], _documents(image))
    if is_layer_folder(path):
        progress.expect(1, None)
        verdict = _folder(path, None, strict, progress)
        try:
            find_parents(path)
        except WclayerError as error:
            verdict.problems.append(str(error))
        return Verdict([verdict])
    refuse_unfinished(path)
    with open_image(target, platform, limits=limits, network=network) as opened:
        for layer in opened.layers:
            progress.expect(1, layer.locate().size if layer.is_available else 0)
            layer.prefetch()
        return Verdict([_blob(layer, limits, strict, progress) for layer in opened.layers])


def _documents(image: UnpackedImage) -> list[str]:
    """What is wrong with the manifest and the configuration that lie beside the layers."""
    problems = []
    digest = image.document.get("digest")
    manifest, config = image.folder / MANIFEST_FILE, image.folder / CONFIG_FILE
    try:
        if digest is not None and str(digest_of(manifest.read_bytes())) != digest:
            problems.append(f"{MANIFEST_FILE} does not have the digest {digest} of the image")
        if config.exists() and json.loads(config.read_bytes())["rootfs"]["diff_ids"] != list(image.diff_ids):
            problems.append(f"{CONFIG_FILE} lists other layers than the image")
    except OSError as error:
        problems.append(f"cannot read {error.filename}: {error.strerror}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problems.append(f"{CONFIG_FILE} is damaged: {error!r}")
    return problems


def _cim(path: Path, strict: bool, progress: Progress) -> LayerVerdict:
    verdict = LayerVerdict(path.name, None, ["headers", "regions", "records", "names"])
    progress.begin(path.name)
    try:
        for finding in verify_cim(path):
            if finding.severity == "error" or strict:
                verdict.problems.append(f"{finding.path or path.name}: {finding.detail}")
            else:
                verdict.notices[finding.code] = verdict.notices.get(finding.code, 0) + 1
                verdict.listed.append(Notice(finding.code, finding.path, finding.detail))
    finally:
        progress.end(path.name)
    return verdict


def _blob(layer: LayerBlob, limits: Limits, strict: bool, progress: Progress) -> LayerVerdict:
    verdict = LayerVerdict(str(layer), str(layer.diff_id) if layer.diff_id else None)
    notices = Notices(strict=strict)
    progress.begin(str(layer))
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
    verdict.listed = list(notices.listed)
    return verdict


def _folder(path: Path, diff_id: str | None, strict: bool, progress: Progress) -> LayerVerdict:
    verdict = LayerVerdict(path.name, diff_id, ["database", "files"])
    progress.begin(path.name)
    try:
        with LayerFolder(path) as folder:
            recorded = folder.facts.get("diff_id")
            verdict.diff_id = recorded if isinstance(recorded, str) else diff_id
            if diff_id is not None and recorded != diff_id:
                verdict.problems.append(f"the layer has the DiffID {recorded}, and the image lists {diff_id}")
            verdict.problems += [f"{finding.path}: {finding.detail}" for finding in verify_folder(folder)]
            verdict.notices, verdict.listed = folder.notices()
            if strict:
                verdict.problems += [f"{notice.path}: {notice.detail}" for notice in verdict.listed]
            if folder.header_record is not None and not verdict.problems:
                verdict.checked.append("DiffID")
                write_original(folder, lambda piece: progress.advance(path.name, len(piece)))
    except WclayerError as error:
        verdict.problems.append(str(error))
    finally:
        progress.end(path.name)
    return verdict
