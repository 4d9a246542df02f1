"""Kinds ``import-legacy``, ``import-full`` and ``import-base``: a layer tar in, and every trace it leaves."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.conformance.folders.deviations import hides_utility_vm, read_otherwise
from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.restores import compare_restores, same_but_for_order, without_copies
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
from wclayer.formats.transport.names import MUTATED_BACKUPS, SIDECAR, UTILITY_VM, is_blob, is_mutated
from wclayer.formats.transport.pour import pour_tar
from wclayer.formats.volume import Volume
from wclayer.formats.volume.paths import clean
from wclayer.hcs.failures import HcsError, win32_code
from wclayer.image.transport_import import LayerCalls, import_layer_from_tar
from wclayer.ntfs.names import decode_wtf8

__all__ = ["run_import"]

_HARD_LINK = ord("1")
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
            yield from _nothing_left(Path(scratch), run, tar, item)


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
        self.link_names: list[str] = []
        self.last_name = ""
        self.names: set[str] = set()
        self.size = 0
        self.slashed = False

    def pour(self, tar: bytes) -> None:
        writer = self.writer
        self.slashed = bool(_SLASHED(tar))
        with suppress(WclayerError):
            self._read_names(Members(SlabStream([tar])))
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

    def _read_names(self, members: Members) -> None:
        while (member := members.next()) is not None:
            self.last_name = decode_wtf8(member.name).replace("/", "\\")
            self.names.add(self.last_name)
            if member.type == _HARD_LINK:
                self.link_names.append(self.last_name)

    def close(self) -> None:
        for volume in (self.layer, self.transport, *self.parents):
            volume.close(commit=False)


def _compare(run: _Run, folder: Path, expected: dict[str, Any], rules: Rules) -> Iterator[str]:
    wanted = expected["error"]
    if rule := read_otherwise(run, expected):
        rules.use(rule)
        return
    if wanted and wanted.get("stage") == "panic":
        if run.error is None:
            yield "the reference crashes; ours should refuse it and does not"
        rules.use("crash-refused")
        return
    if run.slashed and hides_utility_vm(run, expected):
        rules.use("folder-name-normalised")
        if wanted or run.error is not None:
            return
        # What the reference does not see it does not process; everything else there is the same.
        seen = {call["fn"] for call in expected.get("vmcompute", ())}
        run.calls.made = [call for call in run.calls.made if call["fn"] in seen]
        if run.kind != "import-base":
            yield from _calls(run.calls.made, expected.get("vmcompute"))
            yield from _state(run, expected, apart=UTILITY_VM)
            return
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
    interrupted = _interrupted(run) if failed else set()
    if remade := MUTATED_BACKUPS & run.names & {entry["path"] for entry in expected.get("layer", ())}:
        rules.use("backup-made-anew")
    yield from _trees(run, folder, expected, rules, interrupted | remade)


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


def _state(run: _Run, expected: dict[str, Any], *, apart: str = "-") -> Iterator[str]:
    """The differences of what the writer knows; what is called ``apart``, or lies below it, is left out."""
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
        if apart != "-":
            if isinstance(value, bool):
                continue
            value, theirs = ([item for item in items if not _is_apart(item, apart)] for items in (value, theirs))
        if value != theirs:
            yield f"{key}: ours {value!r:.300}, expected {theirs!r:.300}"


def _is_apart(item: Any, top: str) -> bool:
    return clean(item["path"] if isinstance(item, dict) else item).partition("\\")[0] == top


def _trees(run: _Run, folder: Path, expected: dict[str, Any], rules: Rules, interrupted: set[str]) -> Iterator[str]:
    copied = _copied_boot_files(run, expected)
    restores = without_copies(run.recorder.writes(), expected["writes"], run.parents)
    if copied or len(restores) < len(run.recorder.writes()):
        rules.use("bcd-copied")
    for name, volume in (("transport", run.transport), ("layer", run.layer)):
        if name in expected:
            yield from _listing(name, entries(volume), expected[name], copied, interrupted)
        raw = folder / f"{name}.tar"
        if raw.exists():
            yield from _raw(name, contents(volume), tar_contents(raw), interrupted, rules)
    shared = shared_with(run.layer, run.parents)
    wanted = {path: parent for path, parent in expected["layer_shared_with_parent"].items() if path not in copied}
    if shared != wanted:
        yield f"shared with parents: ours {shared}, expected {wanted}"
    if link_groups(run.layer) != sorted(sorted(group) for group in expected["layer_link_groups"]):
        yield f"link groups: ours {link_groups(run.layer)}, expected {expected['layer_link_groups']}"
    yield from compare_restores(restores, expected["writes"], rules, interrupted)


def _copied_boot_files(run: _Run, expected: dict[str, Any]) -> dict[str, int]:
    """The boot files that the reference links to the parent's, where ours are copies; how many names those have."""
    ours = shared_with(run.layer, run.parents)
    return {
        path: run.parents[found["parent"]].lstat(found["path"]).links
        for path, found in expected.get("layer_shared_with_parent", {}).items()
        if is_mutated(found["path"]) and path not in ours
    }


def _listing(
    name: str,
    ours: dict[str, dict[str, Any]],
    expected: list[dict[str, Any]],
    copied: dict[str, int],
    interrupted: set[str],
) -> Iterator[str]:
    for theirs in expected:
        path = theirs["path"]
        mine = ours.pop(path, None)
        if path in interrupted:
            continue
        if mine is None:
            yield f"{name}: {path} is missing"
            continue
        for key in ("dir", "attributes", "size", *TIMES):
            if theirs[key] is not None and mine[key] != theirs[key]:
                yield f"{name}: {path}, {key}: ours {mine[key]}, expected {theirs[key]}"
        links = theirs.get("links", 1) - copied.get(path, 0)
        if mine["links"] != links:
            yield f"{name}: {path}, links: ours {mine['links']}, expected {links}"
    for path in ours:
        if path not in interrupted:
            yield f"{name}: {path} should not be there"


def _raw(
    name: str, ours: dict[str, bytes], expected: dict[str, bytes], interrupted: set[str], rules: Rules
) -> Iterator[str]:
    for path, content in expected.items():
        mine = ours.get(path)
        if mine == content:
            continue
        if mine is not None and is_blob(path) and mine[:4] == content[:4] and same_but_for_order(mine[4:], content[4:]):
            rules.use("ea-order")
        elif not (path in interrupted and content.startswith(mine or b"")):
            yield f"{name}: the content of {path} differs: ours {mine!r:.120}, expected {content!r:.120}"


def _nothing_left(scratch: Path, run: _Run, tar: bytes, item: dict[str, Any]) -> Iterator[str]:
    """The whole import of a tar that is refused leaves nothing."""
    place = scratch / "whole"
    place.mkdir()
    parents = [scratch / f"p{index}" for index in range(len(run.parents))]
    calls = Calls(item, run.parents)
    failing = LayerCalls(calls.import_layer, calls.process_base_image, calls.process_utility_image)
    try:
        import_layer_from_tar([tar], place / "layer", parents, calls=failing)
    except WclayerError:
        if left := sorted(place.iterdir()):
            yield f"a refused import left {left}"
    else:
        # The folders of the parents are given alone; what only a metadata list says of them is not seen.
        if not any(parent.get("meta") for parent in item.get("parents", ())):
            yield "the whole import takes what was refused"
