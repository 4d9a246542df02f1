"""Dumps of images: one JSON line for each path, to be compared with that of another reader."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wclayer.formats.cim.dump import dump
from wclayer.formats.cim.reader import CimImage

__all__ = ["compare_dumps", "dump_lines"]


def dump_lines(cim: Path) -> Iterator[str]:
    """The lines of the image ``cim``."""
    with CimImage.open(cim) as image:
        for row in dump(image):
            yield json.dumps(row, sort_keys=True)


def compare_dumps(ours: Iterable[str], theirs: Iterable[str]) -> Iterator[str]:
    """The differences between two dumps, by path. Fields that only one reader knows are not compared."""
    mine, other = _by_path(ours), _by_path(theirs)
    for path in sorted(mine.keys() | other.keys()):
        if path not in mine or path not in other:
            yield f"{path!r} is only in {'the other dump' if path in other else 'ours'}"
            continue
        for key in sorted(mine[path].keys() & other[path].keys()):
            if mine[path][key] != other[path][key]:
                yield f"{path!r}, {key}: ours {mine[path][key]!r:.200}, the other {other[path][key]!r:.200}"


def _by_path(lines: Iterable[str]) -> dict[str, dict[str, Any]]:
    rows = (json.loads(line) for line in lines if line.strip())
    return {row["path"]: row for row in rows}
