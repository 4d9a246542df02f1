"""Kind ``cim``: a layer tar in, and everything that writing it as an image asks of the image and of the registry.

The import of the package runs as it is; its image is a stand-in that notes what it is asked for in the terms of the
CimFS API, and so is the merging of hives, since the hives of a case are no hives.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.folders.cim_image import NOT_FOUND, Calls, Image
from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.trees import load, tar_contents
from wclayer.errors import FormatError, NotFoundError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.cim.block import merge_block_images
from wclayer.formats.cim.block_import import BlockLayerImport
from wclayer.formats.cim.layer_import import LayerImport
from wclayer.formats.cim.layer_names import CimLayer, windows_path
from wclayer.formats.cim.std_files import StdFiles
from wclayer.formats.tar import TarLayerReader
from wclayer.formats.volume.paths import clean
from wclayer.model import Notices
from wclayer.ntfs.ea import decode_eas

__all__ = ["run_cim"]

_EXISTS = (80, 183)
# What is about the container or the image as a whole, not about what is in it.
_CONTAINER = ("CimCreateImage2", "CimCommitImage", "CimCloseImage", "CimSealImage", "CimGetVerificationInformation")
# A name that ends in a slash.
_SLASHED = re.compile(rb"/\0").search
# hcsshim forgets how much it announced for a stream, and the data of its file that it still holds back.
_STREAM_REFUSALS = ("stream types other than $DATA", "incomplete write", "wrote too much")
_CONTAINER_FILES = ("blob.bcim", "integrity_checksum", "merged_integrity_checksum")


def run_cim(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    """The differences of one item."""
    folder = case / item["name"]
    expected = load(folder / "expect.json")
    mode = item["mode"]
    with tempfile.TemporaryDirectory() as scratch:
        run = _Run(Path(scratch), case, item)
        if mode == "cim-merge":
            yield from _merge(run, expected, rules)
            return
        run.pour((folder / "input.tar").read_bytes(), is_block=mode != "cim-forked")
        yield from _compare(run, folder, expected, rules)


class _Run:
    def __init__(self, scratch: Path, case: Path, item: dict[str, Any]) -> None:
        self.layer = CimLayer(scratch / "cims" / "new.cim", scratch / "layer")
        self.parents: list[CimLayer] = []
        for number, parent in enumerate(item.get("parents", ())):
            place = scratch / f"p{number}"
            place.mkdir()
            for path, content in tar_contents(case / parent["tree"]).items() if "tree" in parent else ():
                file = place / path.replace("\\", "/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self.parents.append(CimLayer(scratch / "cims" / f"old{number}.cim", place))
        self.calls = Calls(item, scratch)
        self.is_block = False
        self.error: WclayerError | None = None
        self.notices = Notices()
        self.size = 0

    def pour(self, tar: bytes, *, is_block: bool) -> None:
        """The whole import, as the layer writer does it."""
        self.is_block = is_block
        image = Image(self.calls)
        files = StdFiles(self.layer.folder)
        merge = self.calls.merge
        layer: LayerImport
        if is_block:
            layer = BlockLayerImport(image, files, self.parents, merge, self.notices)
        else:
            layer = LayerImport(image, files, self.parents, merge, self.notices)
        try:
            if not is_block:
                old = self.parents[0].cim.name if self.parents else None
                self.calls.image("CimCreateImage", path="{cims}", old=old, new=self.layer.cim.name, fs=1)
            for item in TarLayerReader([tar], policy="reference", notices=self.notices):
                layer.write(item)
            layer.finish(process=True)
            image.commit()
            files.publish()
            files.keep()
            self.size = layer.pouring.size
        except WclayerError as error:
            self.error = error
            image.abort()
        finally:
            files.discard()


def _merge(run: _Run, expected: dict[str, Any], rules: Rules) -> Iterator[str]:
    """Ours refuses what the reference hands to Windows; what it hands over must be what ours was given."""
    sources = [parent.folder / "blob.bcim" for parent in run.parents]
    asked = [call["path"] for call in expected["calls"] or () if call["fn"] == "CimAddFsToMergedImage2"]
    try:
        merge_block_images(sources, run.layer.folder / "blob.bcim")
    except UnsupportedError as error:
        if expected["ok"] and error.hint is None:
            yield "the refusal does not say what does it on Windows"
        rules.use("block-container")
        if expected["ok"] and len(asked) != len(sources):
            yield f"{len(sources)} images to merge, the reference merges {asked}"
    except WclayerError as error:
        if expected["ok"]:
            yield f"ended with {error}, expected no error"


def _compare(run: _Run, folder: Path, expected: dict[str, Any], rules: Rules) -> Iterator[str]:
    wanted, calls = expected["error"], expected["calls"] or []
    if run.is_block:
        rules.use("block-container")
        calls = [call for call in calls if call["fn"] not in _CONTAINER]
        run.calls.made = [call for call in run.calls.made if call["fn"] not in _CONTAINER]
    if wanted and wanted.get("stage") == "panic":
        if run.error is None:
            yield "the reference crashes; ours should refuse it and does not"
        rules.use("crash-refused")
        return
    if rule := _deviation(run, expected):
        rules.use(rule)
        if rule == "cim-streams-kept":
            first = next(n for n, call in enumerate(run.calls.made) if call["fn"] == "CimCreateAlternateStream")
            # The call before it ends the stream of the file, which the reference does otherwise.
            yield from _calls(run.calls.made[: first - 1], calls[: first - 1], rules)
        return
    if not _same_failure(run.error, wanted) and (difference := compare_error(run.error, wanted, rules)):
        yield difference
        return
    if run.error is not None:
        rules.use("no-partial-import")
        made = run.calls.made
        yield from _calls(made, calls[: len(made)], rules)
        if run.layer.folder.exists():
            yield f"a refused import left {sorted(os.listdir(run.layer.folder))}"
        return
    if not expected["ok"]:
        yield "ok: True, expected False"
    if run.size != expected["total_size"]:
        yield f"total size {run.size}, expected {expected['total_size']}"
    if run.is_block and _SLASHED((folder / "input.tar").read_bytes()):
        calls = _with_links_found(run.calls.made, calls, rules)
    yield from _calls(run.calls.made, calls, rules)
    yield from _files(run, folder, expected)


def _deviation(run: _Run, expected: dict[str, Any]) -> str | None:
    """The rule by which one of the two refuses what the other takes, if there is one."""
    text = expected["error"]["text"] if expected["error"] else ""
    made = {call["fn"] for call in run.calls.made}
    if run.error is None and text:
        if "CimCreateAlternateStream" in made and any(reason in text for reason in _STREAM_REFUSALS):
            return "cim-streams-kept"
        if run.is_block and run.calls.failing & set(_CONTAINER):
            return "block-container"
        if "hives directory creation" in text and (run.layer.folder / "Hives").is_dir():
            return "base-deltas-kept"
        if "failed to open base hive" in text and len(run.parents) > 1:
            return "hive-from-below"
    elif run.error is not None and "unexpected folder" in str(run.error):
        return "std-folder-refused"
    elif run.error is not None and not text:
        if isinstance(run.error, FormatError) and run.error.kind == "std-file":
            return "std-stream-refused"
        if isinstance(run.error, UnsafeEntryError) or (
            isinstance(run.error, FormatError) and run.error.kind == "device"
        ):
            return "cim-entry-refused"
    return None


def _same_failure(ours: WclayerError | None, wanted: dict[str, Any] | None) -> bool:
    """Whether ours is what Windows calls by this number, for failures of files that ours does not ask Windows for."""
    errno = wanted and wanted.get("errno")
    if errno in NOT_FOUND:
        return isinstance(ours, NotFoundError)
    return errno in _EXISTS and isinstance(ours, UnsafeEntryError)


def _calls(made: list[dict[str, Any]], wanted: list[dict[str, Any]], rules: Rules) -> Iterator[str]:
    ours, theirs = [call["fn"] for call in made], [call["fn"] for call in wanted]
    if ours != theirs and (kept := _without_hives_folder(wanted, made)) is not None:
        rules.use("hives-folder-kept")
        wanted = kept
    elif ours != theirs:
        yield f"calls {ours}, expected {theirs}"
        return
    for number, (mine, other) in enumerate(zip(made, wanted, strict=True)):
        for key in sorted(mine.keys() | other.keys()):
            if mine.get(key) == other.get(key):
                continue
            if key == "ea" and _same_attributes(mine[key], other[key]):
                rules.use("ea-order")
            elif key in ("path", "new", "old") and other[key] and mine[key] == clean(other[key]):
                rules.use("cim-name-normalised")
            elif key == "attributes" and not (mine[key] ^ other[key]) & ~0x10:
                rules.use("cim-folder-bit")
            else:
                values = f"ours {mine.get(key)!r:.200}, expected {other.get(key)!r:.200}"
                yield f"call {number} ({mine['fn']}), {key}: {values}"


def _without_hives_folder(wanted: list[dict[str, Any]], made: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The calls of the reference but those that write the folder of the hives once more; None if that is not all."""
    again = [n for n, call in enumerate(wanted) if call["fn"] == "CimCreateFile" and call["path"] == "Hives"]
    if len(again) < 2 or len(wanted) != len(made) + 2:
        return None
    start = again[-1]
    kept = [dict(call) for call in wanted[:start] + wanted[start + 2 :]]
    for call in kept[start:]:
        if "stream" in call:
            call["stream"] -= 1
    # The last stream before it is closed where the folder would have begun.
    return kept if [call["fn"] for call in kept] == [call["fn"] for call in made] else None


def _with_links_found(made: list[dict[str, Any]], wanted: list[dict[str, Any]], rules: Rules) -> list[dict[str, Any]]:
    """The calls of the reference, which takes ``a/`` and ``a`` for two names and so misses the target of a link."""
    found = []
    for number, call in enumerate(wanted):
        mine = made[number] if number < len(made) else {}
        if call["fn"] == "CimCreateMergeLink" and mine.get("fn") == "CimCreateHardLink":
            rules.use("cim-name-normalised")
            call = call | {"fn": mine["fn"]}
        found.append(call)
    return found


def _same_attributes(ours: str, theirs: str) -> bool:
    try:
        mine, other = (sorted(decode_eas(base64.b64decode(text))) for text in (ours, theirs))
    except (binascii.Error, FormatError):
        return False
    return mine == other


def _files(run: _Run, folder: Path, expected: dict[str, Any]) -> Iterator[str]:
    root = run.layer.folder
    ours = {windows_path(str(path.relative_to(root))): path for path in sorted(root.rglob("*"))}
    wanted = {entry["path"]: entry for entry in expected["layer"] if entry["path"] not in _CONTAINER_FILES}
    for path in sorted(ours.keys() ^ wanted.keys()):
        yield f"layer: {path} " + ("is missing" if path in wanted else "should not be there")
    raw = folder / "layer.tar"
    contents = tar_contents(raw) if raw.exists() else {}
    for path in sorted(ours.keys() & wanted.keys()):
        place, entry = ours[path], wanted[path]
        size = 0 if place.is_dir() else place.stat().st_size
        attributes = 0x10 if place.is_dir() else 0x20
        for key, value in (("dir", place.is_dir()), ("size", size), ("attributes", attributes)):
            if entry[key] != value:
                yield f"layer: {path}, {key}: ours {value}, expected {entry[key]}"
        if entry["dir"] or place.is_dir():
            continue
        if place.stat().st_nlink != entry.get("links", 1):
            yield f"layer: {path}, links: ours {place.stat().st_nlink}, expected {entry.get('links', 1)}"
        content = place.read_bytes()
        if content != contents.get(path):
            yield f"layer: the content of {path}: ours {content!r:.100}, expected {contents.get(path)!r:.100}"
