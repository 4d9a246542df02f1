"""Kinds ``export-legacy``, ``export-base`` and ``bak2tar``: folders and backup streams in, a layer tar out."""

from __future__ import annotations

import base64
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conformance.folders.blobs import expanded
from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.imports import Calls
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.trees import TIMES, load, make_volume
from wclayer.errors import FormatError, WclayerError
from wclayer.formats.base import BaseLayerReader
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.formats.tar.backuptar import BackupSource, backup_items
from wclayer.formats.transport import LegacyLayerReader
from wclayer.formats.transport.names import TOMBSTONES
from wclayer.formats.transport.pour import pour_layer
from wclayer.formats.volume import Volume
from wclayer.model import Entry, Metadata
from wclayer.ntfs.names import decode_wtf8, fold

__all__ = ["run_bak2tar", "run_export"]

_SPARSE = re.compile(r"unknown stream ID 9( after data)?$").search
_SIZES = re.compile(r"write too long|mismatch between file size").search
_CLAIMS = re.compile(r"backup stream \w+ claims \d+ bytes").search


def run_export(case: Path, item: dict[str, Any], kind: str, rules: Rules) -> Iterator[str]:
    """The differences of one item."""
    folder = case / item["name"]
    expected = load(folder / "expect.json")
    with tempfile.TemporaryDirectory() as scratch:
        volume = make_volume(
            Path(scratch) / "folder", "{folder}", folder / "folder.tar", load(folder / "folder.json") or ()
        )
        try:
            tar, error = _export(volume, kind, Calls(item, ()))
            yield from _compare(volume, folder, expected, tar, error, rules)
        finally:
            volume.close(commit=False)


def _export(volume: Volume, kind: str, calls: Calls) -> tuple[bytes, WclayerError | None]:
    tar = io.BytesIO()
    writer = TarLayerWriter(tar.write)
    try:
        for name in ("ActivateLayer", "PrepareLayer", "UnprepareLayer"):
            calls.call(name)
        if kind == "export-legacy":
            calls.call("ExportLayer")
        with LegacyLayerReader(volume) if kind == "export-legacy" else BaseLayerReader(volume) as reader:
            pour_layer(reader, writer)
        writer.commit()
    except WclayerError as error:
        return tar.getvalue(), error
    return tar.getvalue(), None


def _compare(
    volume: Volume, folder: Path, expected: dict[str, Any], tar: bytes, error: WclayerError | None, rules: Rules
) -> Iterator[str]:
    wanted = expected["error"]
    kind = error.kind if isinstance(error, FormatError) else ""
    if wanted and wanted.get("stage") == "panic":
        if error is not None:
            rules.use("crash-refused")
        elif _ends_with_blank_lines(volume):
            rules.use("trailing-blank-lines")
        else:
            yield "the reference crashes; ours should refuse it and does not"
    elif wanted and _SPARSE(wanted["text"]):
        if error is None:
            rules.use("sparse-exported")
            yield from _sparse_contents(volume, tar)
    elif not wanted and kind == "tombstones":
        rules.use("tombstones-strict")
    elif kind == "sidecar":
        rules.use("sidecar-refused")
    elif not wanted and isinstance(error, FormatError) and "too short for its names" in error.message:
        rules.use("reparse-short-refused")
    elif isinstance(error, FormatError) and _CLAIMS(error.message):
        rules.use("stream-size-refused")
    elif _is_cut(error) and (not wanted or _SIZES(wanted["text"])):
        rules.use("truncated-noticed")
    elif difference := compare_error(error, wanted, rules):
        yield difference
    elif error is None:
        reference = (folder / "output.tar").read_bytes()
        if tar != reference and _without_misspelt_tombstones(volume):
            rules.use("tombstone-folder-case")
            tar, error = _export(volume, "export-legacy", Calls({}, ()))
        yield from _bytes(tar, reference)


def _is_cut(error: WclayerError | None) -> bool:
    return isinstance(error, FormatError) and error.kind == "unexpected-eof"


def _ends_with_blank_lines(volume: Volume) -> bool:
    lines = [
        line.removesuffix(b"\r") for line in (volume.root / TOMBSTONES).read_bytes().removesuffix(b"\n").split(b"\n")
    ]
    return not lines[-1] and b"" not in lines[: len(lines) - next(n for n, line in enumerate(lines[::-1]) if line)]


def _without_misspelt_tombstones(volume: Volume) -> bool:
    """Take the lines out of tombstones.txt whose folders are spelt otherwise in the layer; whether there are any."""
    place = volume.root / TOMBSTONES
    if not place.exists():
        return False
    folders = {status.path for status in volume.walk("Files") if status.is_directory}
    folded = {fold(path) for path in folders}
    head, *lines = place.read_bytes().split(b"\n")
    kept = []
    for line in lines:
        parent = "Files" + decode_wtf8(line.rstrip(b"\r").rpartition(b"\\")[0])
        if parent in folders or fold(parent) not in folded:
            kept.append(line)
    place.chmod(0o644)
    place.write_bytes(b"\n".join((head, *kept)))
    return len(kept) != len(lines)


def _bytes(ours: bytes, expected: bytes) -> Iterator[str]:
    if ours != expected:
        at = next(
            (i for i, (a, b) in enumerate(zip(ours, expected, strict=False)) if a != b), min(len(ours), len(expected))
        )
        yield (
            f"the tar differs at byte {at}: ours {ours[max(at - 20, 0) : at + 40]!r}, expected "
            f"{expected[max(at - 20, 0) : at + 40]!r}; lengths {len(ours)} and {len(expected)}"
        )


def _sparse_contents(volume: Volume, tar: bytes) -> Iterator[str]:
    """Every sparse blob's blocks must be found at their offsets in the tar's entry, zeros between."""
    ours = {}
    for item in TarLayerReader([tar]):
        if isinstance(item, Entry) and item.data is not None:
            ours[item.path.replace("/", "\\")] = item.data.read(1 << 30)
    for status in volume.walk("Files"):
        if status.is_directory or status.path.endswith(".$wcidirs$") or status.path == "Files":
            continue
        with open(volume.open_data(status), "rb") as file:
            content = expanded(file.read()[4:])
        if content is not None and ours.get(status.path) != content:
            yield f"the content of {status.path} is not what its blob says"


def run_bak2tar(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    """The differences of one item: backup streams to tars."""
    folder = case / item["name"]
    for index, (source, expected) in enumerate(
        zip(load(folder / "input.json"), json.loads((folder / "expect.json").read_bytes()), strict=True)
    ):
        tar = io.BytesIO()
        writer = TarLayerWriter(tar.write)
        error: WclayerError | None = None
        try:
            for found in backup_items(_source(source)):
                writer.write(found)
            writer.commit()
        except WclayerError as caught:
            error = caught
        wanted = expected.get("error")
        if isinstance(wanted, str):
            wanted = {"text": wanted, "errno": None}
        if wanted and _SPARSE(wanted["text"]):
            if error is None:
                rules.use("sparse-exported")
        elif wanted and wanted.get("stage") == "panic":
            rules.use("crash-refused")
            if error is None:
                yield f"stream {index}: the reference crashes; ours does not refuse it"
        elif _is_cut(error) and (not wanted or _SIZES(wanted["text"])):
            rules.use("truncated-noticed")
        elif not wanted and isinstance(error, FormatError) and "too short for its names" in error.message:
            rules.use("reparse-short-refused")
        elif isinstance(error, FormatError) and _CLAIMS(error.message):
            rules.use("stream-size-refused")
        elif difference := compare_error(error, wanted, rules):
            yield f"stream {index}: {difference}"
        elif error is None:
            for line in _bytes(tar.getvalue(), base64.b64decode(expected["tar"])):
                yield f"stream {index}: {line}"


def _source(source: dict[str, Any]) -> BackupSource:
    info = source["info"]
    stream = base64.b64decode(source["stream"])
    metadata = Metadata(info["attributes"], *(info[key] for key in TIMES))

    def opened() -> Callable[[int], bytes]:
        return io.BytesIO(stream).read

    return BackupSource(source["name"].replace("\\", "/"), metadata, source["size"], opened, source["seekable"])
