"""Folders that look like Windows layers, to be packed by other programs, and what a layer made of them must show."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from tests.image.stacks import data_of
from wclayer.image.describe import list_row
from wclayer.image.target import open_view

Names: TypeAlias = Literal["ascii", "short", "long"]

PLAIN = ("Windows", "System32", "kernel32.dll")
FOREIGN = ("Grüße aus Köln", "你好，世界", "русский.txt", "🐟", "e\u0301", "é")
LONG = (
    "a name of more than one hundred bytes, which no header of the first tars can hold by itself, " + "x" * 60,
    "é" * 90,
)


@dataclass(frozen=True)
class Seen:
    """What can be seen of a path: ``group`` is the first name of its file, ``content`` a digest, or a link's target."""

    kind: str
    content: str = ""
    group: str = ""


def make_tree(root: Path, names: Names = "long") -> Path:
    """A folder with files, folders, links, whiteouts and a file with holes, all written at whole seconds."""
    files = root / "Files"
    leaves = {"ascii": PLAIN, "short": PLAIN + FOREIGN, "long": PLAIN + FOREIGN + LONG}[names]
    for number, name in enumerate(leaves):
        (files / name).mkdir(parents=True)
        (files / name / name[:40]).write_bytes(name.encode() * (number + 1) * 50)
        (files / name / "empty").write_bytes(b"")
    if names == "long":
        deep = files / "deep"
        for number in range(20):
            deep = deep / f"folder number {number:02}"
        deep.mkdir(parents=True)
        (deep / "file").write_bytes(b"deep\n")
    (files / "empty folder").mkdir()
    (files / "zeros").write_bytes(bytes(70_000))
    with (files / "holes").open("wb") as file:
        for place in (0, 200_000, 500_000, 900_001):
            file.seek(place)
            file.write(b"data at %d" % place)
        file.truncate(1_000_000)
    (files / "linked").write_bytes(b"one file of three names")
    os.link(files / "linked", files / "Windows" / "second name")
    os.link(files / "linked", root / "Files" / "zz third name")
    (files / "to a file").symlink_to("Windows/empty")
    (files / "Windows" / "up").symlink_to("../zeros")
    (files / "Windows" / "nowhere").symlink_to("C:\\nothing\\here")
    (files / "Windows" / ".wh.deleted").write_bytes(b"")
    (files / ".wh.deleted folder").write_bytes(b"")
    hives = root / "Hives"
    hives.mkdir()
    (hives / "Software_Delta").write_bytes(b"regf" * 1000)
    for path in (root, *root.rglob("*")):
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    return root


def expected(root: Path) -> dict[str, Seen]:
    """What a layer of everything below ``root`` shows."""
    seen: dict[str, Seen] = {}
    groups: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.name.startswith(".wh."):
            seen[str(Path(name).with_name(path.name[4:]))] = Seen("deleted")
        elif path.is_symlink():
            seen[name] = Seen("symlink", os.readlink(path).replace("/", "\\"))
        elif path.is_dir():
            seen[name] = Seen("directory")
        else:
            group = groups.setdefault(path.stat().st_ino, name)
            seen[name] = Seen("file", hashlib.sha256(path.read_bytes()).hexdigest(), group)
    return seen


def shown(target: str | Path, layer: int | None = -1) -> dict[str, Seen]:
    """What is shown of one layer of ``target``, or with ``layer`` None of all, in the same words."""
    seen: dict[str, Seen] = {}
    groups: dict[tuple[int, int], str] = {}
    with open_view(str(target), layer=layer) as view:
        for found in sorted(view.walk(view.root), key=lambda found: Path(found.path)):
            row = list_row(view, found)
            if row.kind not in ("file", "hardlink"):
                seen[row.path] = Seen(row.kind, row.target or "")
                continue
            digest = hashlib.sha256(data_of(view, found)).hexdigest()
            holder, node = view.content(found)
            seen[row.path] = Seen("file", digest, groups.setdefault((holder, node.id), row.path))
    return seen
