"""Kind ``safefile``: operations below a root, one after the other, and what is left of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.folders.failures import compare_error
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.trees import load
from wclayer.errors import WclayerError
from wclayer.formats.volume import BackupRestore, BasicInfo, Manifest, Volume, VolumeError
from wclayer.formats.volume.errors import ERROR_DIRECTORY, ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND
from wclayer.ntfs.backup import BACKUP_REPARSE_DATA, BackupStreamWriter
from wclayer.ntfs.reparse import build_link

__all__ = ["run_safefile"]

_OPEN_REPARSE_POINT = 0x200000
_DIRECTORY_FILE = 1


def run_safefile(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    """The differences of one item, once for reparse points of the volume and once for links of this machine."""
    folder = case / item["name"]
    expected = load(folder / "expect.json")
    for real_links in (False, True):
        with tempfile.TemporaryDirectory() as scratch:
            root, outside = Path(scratch, "root"), Path(scratch, "outside")
            root.mkdir()
            outside.mkdir()
            (outside / "secret").write_text("secret")
            volume = Volume(root, Manifest(None), label="{root}")
            try:
                for index, (task, wanted) in enumerate(
                    zip(load(folder / "ops.json"), expected["results"], strict=True)
                ):
                    for line in _one(volume, outside, task, wanted, rules, real_links=real_links):
                        yield f"operation {index} ({task['op']} {task['path']}): {line}"
                yield from _final(volume, expected, real_links=real_links)
                if (left := sorted(os.listdir(outside))) != expected["outside"]:
                    yield f"outside: {left}, expected {expected['outside']}"
                if (outside / "secret").read_text() != "secret":
                    yield "the file outside was changed"
            finally:
                volume.close(commit=False)


def _one(
    volume: Volume, outside: Path, task: dict[str, Any], wanted: dict[str, Any], rules: Rules, *, real_links: bool
) -> Iterator[str]:
    failure: WclayerError | None = None
    found: dict[str, Any] = {}
    try:
        found = _do(volume, outside, task, real_links=real_links)
    except WclayerError as error:
        failure = error
    if difference := compare_error(failure, wanted["error"], rules):
        yield difference
    elif failure is None:
        for key, value in found.items():
            if wanted.get(key) != value and not (real_links and key == "attributes"):
                yield f"{key}: ours {value}, expected {wanted.get(key)}"


def _do(volume: Volume, outside: Path, task: dict[str, Any], *, real_links: bool) -> dict[str, Any]:
    op, path = task["op"], task["path"] or "."
    if op == "mkdir":
        volume.mkdir(path)
    elif op == "mkdirall":
        volume.mkdir_all(path)
    elif op == "open":
        _open(volume, task)
    elif op == "link":
        assert volume.link(volume, task["target"] or ".", path)
    elif op == "ensure":
        volume.ensure_not_reparse_point(path)
    elif op == "remove":
        volume.remove(path)
    elif op == "removeall":
        volume.remove_all(path)
    elif op == "lstat":
        status = volume.lstat(path)
        return {"attributes": status.basic.attributes, "isdir": status.is_directory and not status.is_reparse_point}
    elif op == "raw-attr":
        volume.set_basic(volume.lstat(path), BasicInfo(task["attr"], 0, 0, 0, 0))
    elif op in ("raw-symlink", "raw-junction"):
        _make_link(volume, outside, task, real=real_links)
    else:
        raise AssertionError(op)
    return {}


def _open(volume: Volume, task: dict[str, Any]) -> None:
    path, flags = task["path"] or ".", task.get("flags", 0)
    if task["disp"] == 2 and flags & _DIRECTORY_FILE:
        volume.mkdir(path)
        return
    if task["disp"] == 2:
        node = volume.create(path)
        os.write(node.descriptor, task.get("data", "").encode())
        node.close()
        return
    status = volume.lstat(path, "open") if flags & _OPEN_REPARSE_POINT else volume.ensure_not_reparse_point(path)
    if flags & _DIRECTORY_FILE and not status.is_directory:
        raise VolumeError("open", path, ERROR_DIRECTORY)
    if task.get("data") and not status.is_directory:
        with open(volume.root / os.fsdecode(status.host), "r+b") as file:
            file.write(task["data"].encode())


def _make_link(volume: Volume, outside: Path, task: dict[str, Any], *, real: bool) -> None:
    path, target = task["path"], task["target"].replace("{root}", str(volume.root))
    beside = volume.root / path.replace("\\", "/")
    host = os.path.normpath(beside.parent / target.replace("\\", "/"))
    is_folder = os.path.isdir(host) or task["op"] == "raw-junction"
    if volume.exists(path):
        raise VolumeError("link", path, ERROR_FILE_NOT_FOUND)
    if not beside.parent.is_dir():
        raise VolumeError("link", path, ERROR_PATH_NOT_FOUND)
    if real:
        os.symlink(host, beside)
        volume.tree.removed(volume.lstat(""))
        volume.tree.locate(path, "stat").folder.names = None
        return
    if is_folder:
        volume.mkdir(path)
        node = volume.open_folder(path)
    else:
        node = volume.create(path)
    restore = BackupRestore(node, security=False)
    BackupStreamWriter(restore.write).stream(
        BACKUP_REPARSE_DATA, build_link(task["target"], mount_point=task["op"] == "raw-junction")
    )
    restore.close()
    node.close()


def _final(volume: Volume, expected: dict[str, Any], *, real_links: bool) -> Iterator[str]:
    ours = {status.path: (status.is_directory, status.basic.attributes, status.size) for status in volume.walk("")}
    wanted = {entry["path"]: (entry["dir"], entry["attributes"], entry["size"]) for entry in expected["final"]}
    for path in sorted(ours.keys() | wanted.keys()):
        if ours.get(path) != wanted.get(path) and not (real_links and path in ours and ours[path][1] & 0x400):
            yield f"finally {path}: ours {ours.get(path)}, expected {wanted.get(path)}"
