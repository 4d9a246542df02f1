"""Linting a target: an image, an unpacked image, a layer folder, a layer tar, or a layer in any other form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from wclayer.errors import FormatError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.formats.tar import Members, SlabStream
from wclayer.image.chain import find_parents, is_layer_folder, with_ancestors
from wclayer.image.layer_places import open_items, parse_place
from wclayer.image.lint.examined import examine_item, examine_member
from wclayer.image.lint.findings import Findings
from wclayer.image.lint.image_checks import look_at_config
from wclayer.image.lint.layer import LayerLint
from wclayer.image.lint.names import LayerNames
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import CONFIG_FILE, UnpackedImage
from wclayer.model import LayerItem
from wclayer.oci import ImageConfig, LayerBlob, Limits, open_image
from wclayer.oci.network import Network

__all__ = ["LintReport", "Role", "lint"]

Role: TypeAlias = Literal["auto", "base", "upper"]


@dataclass(slots=True)
class LintReport:
    """What was looked at, base first, and what was found. ``layers`` maps the label of a layer to its role."""

    target: str
    findings: Findings
    layers: dict[str, str] = field(default_factory=dict)


def lint(
    target: str,
    *,
    platform: str | None = None,
    parents: Sequence[Path] = (),
    role: Role = "auto",
    ignored: Collection[str] = (),
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
    network: Network | None = None,
) -> LintReport:
    """Look for whatever Windows would refuse or change in ``target``.

    Of a lone layer ``parents`` are the layer folders below it, nearest first, and ``role`` says whether it is a base
    layer; ``auto`` looks at what it holds. In an image the first layer is the base. Raises what reading raises where it
    is not the layer that is wrong: NotFoundError, StoreError, DigestMismatchError.
    """
    job = _Job(LintReport(target, Findings(ignored=ignored)), limits, progress)
    path = Path(target)
    if UnpackedImage.is_one(path):
        image = UnpackedImage.load(path)
        config = path / CONFIG_FILE
        if config.is_file():
            look_at_config(ImageConfig.parse(config.read_bytes()), len(image.layers), job.findings)
        job.folders(tuple(reversed(image.layers)))
        return job.report
    place = parse_place(target)
    if is_layer_folder(path):
        job.below(with_ancestors(parents) if parents else find_parents(path))
        # A layer folder knows what it stands on, so one without parents is a base.
        is_base = not job.parents if role == "auto" else role == "base"
        job.folder(path, is_base=is_base)
    elif place.kind in ("transport", "base", "plain"):
        job.below(with_ancestors(parents))
        with open_items(place, limits=limits) as items:
            job.items(target, items, is_base=place.kind == "base" if role == "auto" else role == "base")
    else:
        with open_image(target, platform, limits=limits, network=network) as opened:
            if opened.config is not None:
                look_at_config(opened.config, len(opened.layers), job.findings)
                for layer in opened.layers:
                    layer.prefetch()
                for layer in opened.layers:
                    job.blob(layer, str(layer), is_base=not layer.index)
            else:
                job.below(with_ancestors(parents))
                job.blob(opened.layers[0], target, is_base=None if role == "auto" else role == "base")
    return job.report


class _Job:
    """Layers looked at one after the other, base first; ``parents`` are the names of those done, nearest first."""

    def __init__(self, report: LintReport, limits: Limits, progress: Progress) -> None:
        self.report = report
        self.findings = report.findings
        self.parents: list[LayerNames] = []
        self._limits = limits
        self._progress = progress

    def below(self, folders: Sequence[Path]) -> None:
        """Learn the names of the layer folders below, nearest first, without looking for anything in them."""
        for path in folders:
            names = LayerNames()
            with LayerFolder(path) as folder:
                for node in folder.nodes():
                    if not node.is_tombstone:
                        kind = "reparse" if node.is_reparse_point else "folder" if node.is_folder else "file"
                        names.add(node.path, kind)  # type: ignore[arg-type]
            self.parents.append(names)

    def folders(self, paths: Iterable[Path]) -> None:
        """All layers of an unpacked image, base first."""
        for number, path in enumerate(paths):
            self.folder(path, is_base=not number)

    def folder(self, path: Path, *, is_base: bool | None) -> None:
        """A layer folder."""
        with LayerFolder(path) as folder:
            self.items(path.name, LayerFolderReader(folder), is_base=is_base)

    def items(self, label: str, items: Iterable[LayerItem], *, is_base: bool | None) -> None:
        """A layer in any form that is not a tar."""
        checks = self._begin(label, is_base)
        for item in items:
            checks.look_at(examine_item(item))
        self._finish(label, checks)

    def blob(self, layer: LayerBlob, label: str, *, is_base: bool | None) -> None:
        """A layer tar."""
        checks = self._begin(label, is_base)
        self._progress.begin(label)
        try:
            with closing(layer.stream(limits=self._limits)) as stream:
                slabs = watched(stream, self._progress, label)
                members = Members(SlabStream(slabs))
                try:
                    for member in members:
                        checks.look_at(examine_member(member, members))
                except FormatError as error:
                    self.findings.add("archive-malformed", error.path or "", error.message)
                    for _ in slabs:
                        pass
                stream.finish()
        except WclayerError as error:
            raise error.locate(layer=label) from None
        finally:
            self._progress.end(label)
        self._finish(label, checks)

    def _begin(self, label: str, is_base: bool | None) -> LayerLint:
        self.findings.layer = label
        known = self.parents if self.parents or is_base else None
        return LayerLint(self.findings, parents=known, is_base=is_base)

    def _finish(self, label: str, checks: LayerLint) -> None:
        self.report.layers[label] = "base" if checks.finish() else "upper"
        self.parents.insert(0, checks.names)
