"""One case after the other, each to its first difference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.decode import members_of, operations_of
from tests.conformance.encode import backup_stream, encode
from wclayer.errors import WclayerError

__all__ = ["cases_in", "run_case"]


def cases_in(folder: Path) -> list[Path]:
    """The cases of a folder, in order."""
    return sorted(path.parent for path in folder.glob("*/case.json"))


def run_case(case: Path) -> str | None:
    """None when the case passes, else its first difference. A crash is one."""
    try:
        return next(_differences(case), None)
    except Exception as error:  # the other cases still have something to say
        return f"{type(error).__name__}: {error}"


def _differences(case: Path) -> Iterator[str]:
    about = _load(case / "case.json")
    kind = about["kind"]
    if kind in ("encode", "encode-error"):
        yield from _encoding(case, about)
    if kind != "encode-error":
        yield from _decoding(case, about)


def _encoding(case: Path, about: dict[str, Any]) -> Iterator[str]:
    spec = _load(case / "spec.json")
    for expected in _load(case / "streams.json"):
        entry = spec["entries"][expected["index"]]
        if "stream" in expected and hashlib.sha256(backup_stream(entry)).hexdigest() != expected["stream"]["sha256"]:
            yield f"entry {expected['index']}: the runner builds another backup stream than the case has"
    wanted = about.get("encode_error")
    try:
        tar = encode(spec)
    except WclayerError as error:
        if not wanted:
            yield f"writing failed: {error}"
        return
    if wanted:
        if not about.get("version_dependent"):
            yield f"writing should fail with {wanted} and gave {len(tar)} bytes"
        return
    reference = (case / "layer.tar").read_bytes()
    if tar != reference:
        yield _first_byte(tar, reference)


def _first_byte(ours: bytes, reference: bytes) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(ours, reference, strict=False)) if a != b), min(len(ours), len(reference))
    )
    return (
        f"tar differs at byte {at} (block {at // 512}, offset {at % 512}): ours {ours[at : at + 40]!r}, "
        f"reference {reference[at : at + 40]!r}; lengths {len(ours)} and {len(reference)}"
    )


def _decoding(case: Path, about: dict[str, Any]) -> Iterator[str]:
    tar = (case / "layer.tar").read_bytes()
    expected = _load(case / "decode.json")
    ops, error, total = operations_of(tar)
    yield from _error("reading", error, expected["error"], about)
    yield from _rows("operation", [_comparable(op) for op in ops], [_comparable(op) for op in expected["ops"]])
    if total != expected["total_size"]:
        yield f"total size {total}, expected {expected['total_size']}"
    members, tar_error = members_of(tar)
    yield from _error("listing", tar_error, expected["tar_error"], about)
    yield from _rows("member", members, expected["tar"])


def _error(what: str, ours: str | None, expected: str | None, about: dict[str, Any]) -> Iterator[str]:
    if about.get("version_dependent"):
        return
    if (ours is None) != (expected is None):
        yield f"{what} ended with {ours or 'no error'}, expected {expected or 'no error'}"


def _comparable(op: dict[str, Any]) -> dict[str, Any]:
    """An operation without what need not match: the stream of the one that an error interrupted."""
    if op.get("incomplete"):
        return {key: value for key, value in op.items() if key not in ("stream", "streams", "incomplete")}
    result = dict(op)
    if "stream" in op:
        result["stream"] = {key: op["stream"][key] for key in ("length", "sha256")}
    result["streams"] = [
        {key: stream.get(key) for key in ("id", "attributes", "size", "name", "sha256")}
        for stream in op.get("streams", ())
    ]
    for stream in result["streams"]:
        stream["name"] = stream["name"] or ""
    return result


def _rows(what: str, ours: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Iterator[str]:
    for index, (mine, theirs) in enumerate(zip(ours, expected, strict=False)):
        for key in sorted(set(mine) | set(theirs)):
            if key.startswith("data_") and "data_error" in theirs:
                continue
            if mine.get(key) != theirs.get(key):
                yield f"{what} {index}, {key}: ours {mine.get(key)!r:.200}, expected {theirs.get(key)!r:.200}"
    if len(ours) != len(expected):
        yield f"{len(ours)} {what}s, expected {len(expected)}"


def _load(path: Path) -> Any:
    return json.loads(path.read_bytes())
