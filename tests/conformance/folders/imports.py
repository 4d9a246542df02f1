"""Kinds ``import-legacy``, ``import-full`` and ``import-base``: a layer tar in, and every trace it leaves."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.trees import (
    TIMES,
    Recorder,
    contents,
    entries,
    link_groups,
    load,
    make_volume,
    shared_with,
    tar_contents,
)
from wclayer.errors import WclayerError
from wclayer.formats.base import BaseLayerWriter
from wclayer.formats.tar import Members, SlabStream
from wclayer.formats.transport import LegacyLayerWriter, commit_layer, import_layer
from wclayer.formats.transport.names import SIDECAR, UTILITY_VM, is_mutated
from wclayer.formats.transport.pour import pour_tar
from wclayer.formats.volume import Volume
from wclayer.formats.volume.paths import clean
from wclayer.hcs.failures import HcsError, win32_code
from wclayer.image.transport_import import import_layer_from_tar

__all__ = ["run_import"]

# A name of a utility VM that ends in a slash, at the start of a header block.
_SLASHED = re.compile(rb"(?:^|\0)(?:\./UtilityVM(?:/Files)?/?|UtilityVM(?:/Files)?/)\0").search


class Calls:
    """A stand-in for vmcompute that records what it is asked for and fails where the case says so."""

    def __init__(self, item: dict[str, Any], parents: Sequence[Volume]) -> None:
        self.made: list[dict[str, Any]] = []
        self._parents = parents
        self._failing = {
            name: int(number, 16) for name, number in re.findall(r"(\w+)=(0x[0-9A-Fa-f]+)", str(item.get("env", "")))
        }

    def import_layer(self, layer: Volume, transport: Volume, parents: Sequence[Volume]) -> None:
        for index in range(len(parents)):
            self.call("NameToGuid", id=f"p{index}")
        layers = [{"flags": 0, "path": parent.label} for parent in parents]
        self.call("ImportLayer", id=f"\\\\?\\{layer.label}", path=transport.label, layers=layers)
        import_layer(layer, transport, parents)

    def process_base_image(self, layer: Volume) -> None:
        self.call("ProcessBaseImage", path=f"\\\\?\\{layer.label}")

    def process_utility_image(self, layer: Volume) -> None:
        self.call("ProcessUtilityImage", path=f"\\\\?\\{layer.label}\\{UTILITY_VM}")

    def call(self, name: str, **arguments: Any) -> None:
        number = self._failing.get(name, 0)
        self.made.append({"fn": name, "hr": f"0x{number:08x}", **arguments})
        if number:
            raise HcsError(f"hcsshim::{name}", win32_code(number))


def run_import(case: Path, item: dict[str, Any], kind: str, rules: Rules) -> Iterator[str]:
    """The differences of one item."""
    folder = case / item["name"]
    expected = load(folder / "expect.json")
    tar = (folder / "input.tar").read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        run = _Run(Path(scratch), case, item, kind)
        try:
            run.pour(tar)
            yield from _compare(run, folder, expected, rules)
        finally:
            run.close()
        if run.error is not None:
            yield from _nothing_left(Path(scratch), run, tar)


class _Run:
    def __init__(self, scratch: Path, case: Path, item: dict[str, Any], kind: str) -> None:
        self.scratch, self.kind = scratch, kind
        self.recorder = Recorder()
        self.parents = [
            make_volume(
                scratch / f"p{index}",
                f"{{parent{index}}}",
                case / parent["tree"] if "tree" in parent else None,
                load(case / parent["meta"]) if parent.get("meta") else (),
            )
            for index, parent in enumerate(item.get("parents", ()))
        ]
        self.layer = make_volume(scratch / "layer", "{layer}", observer=self.recorder)
        self.transport = make_volume(scratch / "transport", "{transport}", observer=self.recorder)
        self.calls = Calls(item, self.parents)
        self.writer: LegacyLayerWriter | BaseLayerWriter
        if kind == "import-base":
            self.writer = BaseLayerWriter(self.layer, self.calls.process_base_image, self.calls.process_utility_image)
        else:
            self.writer = LegacyLayerWriter(self.transport, self.layer, self.parents)
        self.error: WclayerError | None = None
        self.size = 0
        self.slashed = False

    def pour(self, tar: bytes) -> None:
        writer = self.writer
        self.slashed = bool(_SLASHED(tar))
        pieces = [tar[start : start + 1000] for start in range(0, len(tar), 1000)]
        try:
            self.size = pour_tar(Members(SlabStream(pieces)), writer)
            if self.kind == "import-full":
                assert isinstance(writer, LegacyLayerWriter)
                commit_layer(writer, self.calls.import_layer, self.calls.process_utility_image)
            else:
                writer.close()
        except WclayerError as error:
            self.error, self.size = error, 0
            if isinstance(writer, LegacyLayerWriter):
                with suppress(WclayerError):
                    writer.close()  # as the reference always does; ours would abandon it here
        finally:
            writer.abandon()

    def close(self) -> None:
        for volume in (self.layer, self.transport, *self.parents):
            volume.close(commit=False)


def _compare(run: _Run, folder: Path, expected: dict[str, Any], rules: Rules) -> Iterator[str]:
    wanted = expected["error"]
    if wanted and run.error is None and wanted["text"] == "invalid hard link in layer" and _has_odd_link(run):
        rules.use("link-name-normalised")
        return
    if wanted and wanted.get("stage") == "panic":
        if run.error is None:
            yield "the reference crashes; ours should refuse it and does not"
        rules.use("crash-refused")
        return
    if run.slashed and run.error is None and (wanted or run.kind == "import-base"):
        # What the reference does not see it does not process; everything else there is the same.
        rules.use("folder-name-normalised")
        if wanted:
            return
        run.calls.made = [call for call in run.calls.made if call["fn"] != "ProcessUtilityImage"]
    difference = compare_error(run.error, wanted, rules)
    if difference:
        yield difference
        return
    if run.error is None and run.size != expected["total_size"]:
        yield f"total size {run.size}, expected {expected['total_size']}"
    failed = run.error is not None
    if failed:
        rules.use("no-partial-import")
        if wanted["stage"] not in ("write", "new") or run.kind != "import-legacy":
            return
    else:
        yield from _calls(run.calls.made, expected.get("vmcompute"))
    if expected["ok"] != (run.error is None):
        yield f"ok: {run.error is None}, expected {expected['ok']}"
    yield from _state(run, expected)
    yield from _trees(run, folder, expected, rules, _interrupted(run) if failed else None)


def _has_odd_link(run: _Run) -> bool:
    """Whether the name of a link is one that cleaning changes."""
    writer = run.writer
    links = writer.pending_links if isinstance(writer, LegacyLayerWriter) else ()
    return any(clean(link.path) != link.path for link in links)


def _interrupted(run: _Run) -> set[str]:
    """The files of the entry that the error ended, of which less may be there than the reference leaves."""
    path = clean((run.error.path if run.error else None) or ".")
    return {path, path + SIDECAR}


def _calls(made: list[dict[str, Any]], wanted: list[dict[str, Any]] | None) -> Iterator[str]:
    if wanted is None:
        return
    for mine, theirs in zip(made, wanted, strict=False):
        for key, value in mine.items():
            if theirs.get(key) != value:
                yield f"call {mine['fn']}, {key}: ours {value!r}, expected {theirs.get(key)!r}"
    if len(made) != len(wanted):
        yield f"calls {[call['fn'] for call in made]}, expected {[call['fn'] for call in wanted]}"


def _state(run: _Run, expected: dict[str, Any]) -> Iterator[str]:
    writer = run.writer
    if not isinstance(writer, LegacyLayerWriter) or "added_files" not in expected:
        return
    long = "\\\\?\\"
    ours: dict[str, Any] = {
        "tombstones": writer.tombstones,
        "pending_links": [
            {"path": link.path, "target": link.target, "target_root": long + link.root.label}
            for link in writer.pending_links
        ],
        "pending_dirs": [{"path": f.path, "root": long + f.root.label} for f in writer.pending_folders],
        "changed_dirs": [
            {"path": f.path, "attributes": f.basic.attributes, **dict(zip(TIMES, f.basic[1:], strict=True))}
            for f in writer.changed_folders
        ],
        "added_files": sorted(writer.added),
        "has_utility_vm": writer.has_utility_vm,
    }
    for key, value in ours.items():
        theirs = expected[key]
        if key == "added_files":
            theirs = sorted(clean(path) for path in theirs)
        if value != theirs:
            yield f"{key}: ours {value!r:.300}, expected {theirs!r:.300}"


def _trees(
    run: _Run, folder: Path, expected: dict[str, Any], rules: Rules, interrupted: set[str] | None
) -> Iterator[str]:
    copied = _copied_boot_files(run, expected)
    if copied:
        rules.use("bcd-copied")
    for name, volume in (("transport", run.transport), ("layer", run.layer)):
        if name in expected:
            yield from _listing(name, entries(volume), expected[name], copied, interrupted)
        raw = folder / f"{name}.tar"
        if raw.exists():
            yield from _raw(name, contents(volume), tar_contents(raw), interrupted)
    shared = shared_with(run.layer, run.parents)
    wanted = {path: parent for path, parent in expected["layer_shared_with_parent"].items() if path not in copied}
    if shared != wanted:
        yield f"shared with parents: ours {shared}, expected {wanted}"
    if link_groups(run.layer) != sorted(sorted(group) for group in expected["layer_link_groups"]):
        yield f"link groups: ours {link_groups(run.layer)}, expected {expected['layer_link_groups']}"
    ours = [w for w in run.recorder.writes() if w["path"].removeprefix("\\\\?\\{layer}\\") not in copied]
    theirs = expected["writes"]
    if interrupted and len(ours) < len(theirs):
        theirs = [w for w in theirs if w["path"].partition("}\\")[2] not in interrupted]
    for index, (mine, wanted_write) in enumerate(zip(ours, theirs, strict=False)):
        for key in ("path", "security", "stream"):
            if mine[key] != wanted_write[key] and mine["path"].partition("}\\")[2] not in (interrupted or ()):
                yield f"write {index}, {key}: ours {mine[key]!s:.200}, expected {wanted_write[key]!s:.200}"
    if len(ours) != len(theirs):
        extra = {w["path"] for w in ours} ^ {w["path"] for w in theirs}
        yield f"{len(ours)} writes, expected {len(theirs)}: {sorted(extra)}"


def _copied_boot_files(run: _Run, expected: dict[str, Any]) -> set[str]:
    """The boot files that the reference links to the parent's, where ours are copies."""
    ours = shared_with(run.layer, run.parents)
    return {path for path in expected.get("layer_shared_with_parent", ()) if is_mutated(path) and path not in ours}


def _listing(
    name: str,
    ours: dict[str, dict[str, Any]],
    expected: list[dict[str, Any]],
    copied: set[str],
    interrupted: set[str] | None,
) -> Iterator[str]:
    for theirs in expected:
        path = theirs["path"]
        mine = ours.pop(path, None)
        if interrupted and path in interrupted:
            continue
        if mine is None:
            yield f"{name}: {path} is missing"
            continue
        for key in ("dir", "attributes", "size", *TIMES):
            if theirs[key] is not None and mine[key] != theirs[key]:
                yield f"{name}: {path}, {key}: ours {mine[key]}, expected {theirs[key]}"
        links = theirs.get("links", 1) - (path in copied)
        if mine["links"] != links:
            yield f"{name}: {path}, links: ours {mine['links']}, expected {links}"
    for path in ours:
        if path not in (interrupted or ()):
            yield f"{name}: {path} should not be there"


def _raw(name: str, ours: dict[str, bytes], expected: dict[str, bytes], interrupted: set[str] | None) -> Iterator[str]:
    for path, content in expected.items():
        mine = ours.get(path)
        if mine != content and not (interrupted and path in interrupted and content.startswith(mine or b"")):
            yield f"{name}: the content of {path} differs: ours {mine!r:.120}, expected {content!r:.120}"


def _nothing_left(scratch: Path, run: _Run, tar: bytes) -> Iterator[str]:
    """The whole import of a tar that is refused leaves nothing."""
    if run.kind == "import-legacy" and run.error is None:
        return
    place = scratch / "whole"
    place.mkdir()
    parents = [scratch / f"p{index}" for index in range(len(run.parents))]
    with suppress(WclayerError):
        import_layer_from_tar([tar], place / "layer", parents)
    if run.error is not None and run.kind != "import-full" and (left := sorted(place.iterdir())):
        yield f"a refused import left {left}"
