"""Hostile layers into a transport folder and a base folder: refused, the entry named, nothing left or touched."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.cases import NAME_CASES, Case
from tests.hostile.command import INTEGRITY, snapshot
from tests.hostile.format_cases import FORMAT_CASES
from tests.hostile.link_cases import LINK_CASES, ORDER_CASES
from tests.hostile.tars import archive, file, folder, folder_symlink, link
from tests.hostile.world import World
from wclayer.cli.main import main

FORMS = ["transport", "base"]
NOT_FOUND, UNSUPPORTED = 3, 7
KINDS = {"names": NAME_CASES, "links": LINK_CASES, "order": ORDER_CASES, "formats": FORMAT_CASES}

#: Such a folder is made entry by entry, so the first entry that cannot be is named; nothing is known of the others yet.
NAMED_INSTEAD = {
    "bad-link-after-good-ones": "Files/k",
    "link-to-symlink-by-way-of-link": "Files/k",
    "link-to-implied-folder": "Files/",
    "link-to-deleted": "Files/",
    "sparse-gnu-map-that-never-ends": "Files/x",
    "symlink-where-the-top-is-by-case": "FILES",
    "below-symlink-of-other-case-before-it": "Files/",
    "below-folder-symlink-of-other-case-before-it": "Files/",
    "below-junction-of-other-case-before-it": "Files/",
    "below-a-file-of-other-case-before-it": "Files/",
    "link-cycle-of-two": "Files/a",
    "link-cycle-of-three": "Files/a",
    "link-cycle-behind-a-link": "Files/a",
    "link-cycle-by-case": "Files/a",
}


def mentions(case: Case) -> Sequence[str]:
    """What must be named: the entry itself; the target of a link may be spelt with backslashes."""
    if case.name in NAMED_INSTEAD:
        return (NAMED_INSTEAD[case.name],)
    return case.mentions[:1] if case in LINK_CASES else case.mentions


def wrong(form: str, case: Case, code: int, said: str) -> str:
    """What is wrong with the end of a conversion, if anything is."""
    wanted = INTEGRITY
    if form == "base" and "a base layer cannot have tombstones" in said:
        wanted = UNSUPPORTED if "whiteout" in case.name or "deleted" in case.name else INTEGRITY
    elif form == "transport" and "name the parents" in said:
        # What is not in the layer may be in a parent; where there is none it is not found.
        wanted = NOT_FOUND if case in LINK_CASES or case in ORDER_CASES else INTEGRITY
    if code != wanted:
        return f"ends with {code}: {said}"
    if not said.startswith("wclayer: ") or len(said.splitlines()) != 1:
        return f"says {said!r}"
    missing = [text for text in mentions(case) if text not in said]
    return f"does not name {missing}: {said}" if missing else ""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_convert_refuses(kind: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = tmp_path / "outside" / "work"
    work.mkdir(parents=True)
    for place in (tmp_path, tmp_path / "outside", work):
        (place / "sentinel").write_bytes(b"nobody may touch this")
    source = tmp_path / "layer.tar"
    source.touch()
    before, held = snapshot(tmp_path, without=[work, source]), len(os.listdir("/proc/self/fd"))
    failures = []
    for case in KINDS[kind]:
        source.write_bytes(case.make())
        code = main(["convert", str(source), f"{form}:{work / 'out'}"])
        problem = wrong(form, case, code, capsys.readouterr().err)
        source.write_bytes(b"")
        after = snapshot(tmp_path, without=[work, source])
        if {path: trace for path, trace in after.items() if path != str(source)} != {
            path: trace for path, trace in before.items() if path != str(source)
        }:
            problem = f"{problem} leaves {sorted(after.keys() ^ before.keys())}"
        if problem:
            failures.append(f"{case}: {problem}")
    assert failures == []
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == held


@pytest.mark.parametrize("form", FORMS)
def test_a_link_below_a_reparse_point_is_not_put_into_its_placeholder(form: str, world: World) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(
        archive(folder("Files"), file("Files/a"), folder_symlink("Files/s"), link("Files/s/l", "Files/a"))
    )
    world.refused("convert", source, f"{form}:{world.destination}", mentions=["Files/s/l"])
