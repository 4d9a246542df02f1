"""Kinds ``codec`` and ``tar2bak``: encoders, decoders, and a tar's entries as backup streams."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.restores import same_but_for_order
from tests.conformance.folders.rules import Rules
from wclayer.errors import FormatError, WclayerError
from wclayer.formats.tar import Member, Members, SlabStream
from wclayer.formats.tar.backuptar import AddOperation, _Import
from wclayer.formats.volume import UnsafePathError
from wclayer.formats.volume.paths import base_of, clean, long_absolute
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas, encode_eas
from wclayer.ntfs.names import decode_wtf8
from wclayer.ntfs.reparse import IO_REPARSE_TAG_MOUNT_POINT, build_link, reference_target, tag_of

__all__ = ["run_codec", "run_tar2bak"]


def run_codec(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    """The differences of one item."""
    folder = case / item["name"]
    wanted = json.loads((folder / "expect.json").read_bytes())
    for index, (task, expected) in enumerate(
        zip(json.loads((folder / "input.json").read_bytes()), wanted, strict=True)
    ):
        ours: Any = None
        failure: WclayerError | None = None
        try:
            ours = _answer(task)
        except WclayerError as error:
            failure = error
        theirs = expected.get("error") if isinstance(expected, dict) else None
        if isinstance(theirs, str):
            theirs = {"text": theirs, "errno": None}
        if theirs and (theirs.get("stage") == "panic" or "panic" in theirs["text"]):
            rules.use("crash-refused")
            if failure is None:
                yield f"{index} ({task['kind']}): the reference crashes; ours gives {ours!r}"
        elif theirs is None and (rule := _refused(task, expected, failure)):
            rules.use(rule)
        elif difference := compare_error(failure, theirs, rules):
            yield f"{index} ({task['kind']}): {difference}"
        elif failure is None and ours != expected:
            yield f"{index} ({task['kind']}): ours {ours!r:.200}, expected {expected!r:.200}"


def _refused(task: dict[str, Any], expected: Any, failure: WclayerError | None) -> str | None:
    """The rule by which ours refuses what the reference answers, if there is one."""
    if isinstance(failure, UnsafePathError) and task["kind"] == "longabs":
        return "relative-refused" if expected["path"].endswith(base_of(clean(task["path"])).strip(".")) else None
    if isinstance(failure, FormatError) and task["kind"] == "reparse-decode":
        return "reparse-short-refused"
    return None


def _answer(task: dict[str, Any]) -> Any:
    kind = task["kind"]
    if kind == "reparse-encode":
        return _text(build_link(task["target"], mount_point=task["mount"], as_written=True))
    if kind == "reparse-decode":
        buffer = base64.b64decode(task["bytes"])
        point = {"Target": reference_target(buffer), "IsMountPoint": tag_of(buffer) == IO_REPARSE_TAG_MOUNT_POINT}
        return {"error": None, "rp": point}
    if kind == "ea-encode":
        eas = [
            ExtendedAttribute(
                ea["Name"].encode("utf-8", "surrogatepass"), base64.b64decode(ea["Value"] or ""), ea.get("Flags", 0)
            )
            for ea in task["eas"] or ()
        ]
        return _text(encode_eas(eas))
    if kind == "ea-decode":
        found = decode_eas(base64.b64decode(task["bytes"]))
        return {
            "eas": [{"Name": decode_wtf8(ea.name), "Value": _text(ea.value), "Flags": ea.flags} for ea in found]
            or None,
            "error": None,
        }
    if kind == "longabs":
        return {"error": None, "path": long_absolute(task["path"])}
    if kind == "clean":
        return clean(task["path"])
    raise AssertionError(kind)


def run_tar2bak(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    """The differences of one item: the entries of a tar as backup streams."""
    folder = case / item["name"]
    expected = json.loads((folder / "expect.json").read_bytes())
    tar = (folder / "input.tar").read_bytes()
    ours: list[dict[str, Any]] = []
    failure: WclayerError | None = None
    try:
        members = Members(SlabStream([tar]))
        member = members.next()
        while member is not None:
            pending = _Import(members, member)
            ours.append(_entry(member, pending.operation()))
            member = pending.finish()
    except WclayerError as error:
        failure = error
    if difference := compare_error(failure, expected["error"], rules):
        yield difference
        return
    for index, (mine, theirs) in enumerate(zip(ours, expected["items"], strict=False)):
        for key, value in mine.items():
            if theirs[key] == value:
                continue
            if key == "stream" and same_but_for_order(base64.b64decode(value), base64.b64decode(theirs[key])):
                rules.use("ea-order")
            else:
                yield f"entry {index}, {key}: ours {value!r:.200}, expected {theirs[key]!r:.200}"
    if failure is None and len(ours) != len(expected["items"]):
        yield f"{len(ours)} entries, expected {len(expected['items'])}"


def _entry(member: Member, operation: AddOperation) -> dict[str, Any]:
    stream = bytearray()
    operation.copy_to(stream.extend)
    return {
        "name": decode_wtf8(member.name),
        "size": operation.size,
        "info": {
            "creation": operation.creation_time,
            "access": operation.last_access_time,
            "write": operation.last_write_time,
            "change": operation.change_time,
            "attributes": operation.attributes,
        },
        "stream": _text(bytes(stream)),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
