"""Folders of a case: made of plain tars and metadata lists, and listed again."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wclayer.formats.volume import BackupRestore, BasicInfo, Manifest, OpenNode, Status, Volume

__all__ = ["Recorder", "contents", "entries", "link_groups", "make_volume", "shared_with"]

TIMES = ("creation", "access", "write", "change")


class Recorder:
    """Every restore, in order: what was handed to BackupWrite."""

    def __init__(self) -> None:
        self._by_node: dict[int, tuple[OpenNode, bool, bytearray]] = {}

    def __call__(self, node: OpenNode, security: bool, data: bytes) -> None:
        """Take a piece."""
        self._by_node.setdefault(id(node), (node, security, bytearray()))[2].extend(data)

    def writes(self) -> list[dict[str, Any]]:
        """The list as a case has it."""
        return [
            {
                "path": f"\\\\?\\{node.volume.label}\\{node.path}",
                "security": security,
                "stream": base64.b64encode(bytes(data)).decode(),
            }
            for node, security, data in self._by_node.values()
        ]


def make_volume(
    place: Path,
    label: str,
    tree: Path | None = None,
    meta: Iterable[dict[str, Any]] = (),
    observer: Recorder | None = None,
) -> Volume:
    """A new volume at ``place`` with the files of ``tree`` and what ``meta`` says of them."""
    place.mkdir(parents=True)
    volume = Volume(place, Manifest(None), label=label)
    if tree is not None:
        with tarfile.open(tree) as archive:
            for member in archive:
                _make(volume, archive, member)
    for item in meta:
        _describe(volume, item)
    volume.observer = observer
    return volume


def _make(volume: Volume, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    path = member.name.strip("/").replace("/", "\\")
    parent = path.rpartition("\\")[0]
    if parent:
        volume.mkdir_all(parent)
    if member.isdir():
        volume.mkdir_all(path)
    elif member.islnk():
        assert volume.link(volume, member.linkname.replace("/", "\\"), path)
    else:
        content = archive.extractfile(member)
        assert content is not None, member.name
        node = volume.create(path)
        os.write(node.descriptor, content.read())
        node.close()


def _describe(volume: Volume, item: dict[str, Any]) -> None:
    status = volume.lstat(item["path"])
    record = volume.described(status)
    if item.get("stream"):
        descriptor = -1 if status.is_directory else os.open(volume.root / os.fsdecode(status.host), os.O_WRONLY)
        node = OpenNode(volume, item["path"], status.host, record, descriptor)
        restore = BackupRestore(node, security=True)
        restore.write(base64.b64decode(item["stream"]))
        restore.close()
        node.close()
    record.set_basic(BasicInfo(item["attributes"], *(item[key] for key in TIMES)))
    volume.changed(record)


def _walk(volume: Volume) -> list[Status]:
    return list(volume.walk(""))


def entries(volume: Volume) -> dict[str, dict[str, Any]]:
    """What is in the volume, by path, as a case lists it."""
    found = {}
    for status in _walk(volume):
        basic = status.basic
        found[status.path] = {
            "path": status.path,
            "dir": status.is_directory,
            "attributes": basic.attributes,
            "size": status.size,
            **dict(zip(TIMES, basic[1:], strict=True)),
            "links": status.links,
        }
    return found


def contents(volume: Volume) -> dict[str, bytes]:
    """The raw bytes of every file."""
    found = {}
    for status in _walk(volume):
        if not status.is_directory:
            with open(volume.open_data(status), "rb") as file:
                found[status.path] = file.read()
    return found


def tar_contents(path: Path) -> dict[str, bytes]:
    """The raw bytes of every file of a plain tar; links are resolved."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        for member in archive:
            name = member.name.strip("/").replace("/", "\\")
            if member.islnk():
                found[name] = found[member.linkname.replace("/", "\\")]
            elif member.isfile():
                content = archive.extractfile(member)
                assert content is not None, member.name
                found[name] = content.read()
    return found


def link_groups(volume: Volume) -> list[list[str]]:
    """Files of the volume that are names of one file."""
    groups: dict[bytes, list[str]] = {}
    for status in _walk(volume):
        if not status.is_directory:
            groups.setdefault(status.file_id, []).append(status.path)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def shared_with(volume: Volume, parents: list[Volume]) -> dict[str, dict[str, Any]]:
    """Files of the volume that are names of a parent's file."""
    known: dict[bytes, dict[str, Any]] = {}
    for number, parent in enumerate(parents):
        for status in _walk(parent):
            if not status.is_directory:
                known.setdefault(status.file_id, {"parent": number, "path": status.path})
    return {
        status.path: known[status.file_id]
        for status in _walk(volume)
        if not status.is_directory and status.file_id in known
    }


def load(path: Path) -> Any:
    """A JSON file; None if there is none."""
    return json.loads(path.read_bytes()) if path.exists() else None
