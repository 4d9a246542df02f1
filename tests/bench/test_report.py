"""What is reported: medians, ratios, targets, and a page that only changes between its markers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.measure import Candidate, Run, expect, run_rounds
from bench.plot import draw
from bench.report import PAGE, with_tables
from bench.results import Result, Target, memory_target, ratio, row
from bench.suites import SUITES


def candidate(name: str, *seconds: float, memory: int = 1 << 20) -> Candidate:
    return Candidate(name, "nothing", lambda _to: [], runs=[Run(value, value / 2, memory) for value in seconds])


def document(suite: str = "unpack") -> dict[str, Any]:
    ours, peer = candidate("wclayer", 1, 9, 2), candidate("<peer>", 5, 5, 1)
    targets = [Target(peer.name, ratio(peer, ours), limit=2.6), Target("start", 0.1, "s", 0.2, at_least=False)]
    corpus = {
        **dict.fromkeys(("entries", "data", "blob", "seed"), 5),
        "content": "synthetic",
        "compression": "gzip",
        "layers": [{}],
        "names": dict.fromkeys(("file", "link", "folder"), 1),
    }
    rows = [row(ours, ours), row(peer, ours)]
    return Result(suite, "A title", 3, "a new folder", corpus, rows, targets).to_json()


def test_a_ratio_is_that_of_the_medians() -> None:
    assert ratio(candidate("peer", 5, 5, 1), candidate("ours", 1, 9, 2)) == 2.5


@pytest.mark.parametrize(
    ("value", "limit", "at_least", "reached"),
    [(2.3, 2.3, True, True), (2.2, 2.3, True, False), (0.1, 0.12, False, True), (0.2, 0.12, False, False)],
)
def test_a_target_is_reached_at_its_limit(value: float, limit: float, at_least: bool, reached: bool) -> None:
    assert Target("it", value, limit=limit, at_least=at_least).reached is reached


def test_a_fact_is_neither_reached_nor_missed() -> None:
    assert Target("it", 1.0).reached is None


def test_the_peak_of_the_memory_counts() -> None:
    target = memory_target([candidate("a", 1, memory=121 << 20), candidate("b", 1, memory=1 << 20)])
    assert target.value == 121
    assert target.reached is False


def test_only_what_is_between_the_markers_changes() -> None:
    kept = "before\n<!-- bench:small -->\nkept\n<!-- /bench:small -->\n"
    page = f"{kept}<!-- bench:unpack -->\nold\n<!-- /bench:unpack -->\nafter\n"
    new = with_tables(page, {"unpack": document()})
    assert new.startswith(f"{kept}<!-- bench:unpack -->\n| program")
    assert new.endswith("\n<!-- /bench:unpack -->\nafter\n")
    assert "\nold\n" not in new
    assert "| <peer> | 2.50× | ≥ 2.6× | **not reached** |" in new
    assert "| start | 0.100 s | ≤ 0.2 s | reached |" in new
    assert with_tables(new, {"unpack": document()}) == new


def test_a_suite_without_a_place_on_the_page_is_an_error() -> None:
    with pytest.raises(ValueError, match="unpack"):
        with_tables("nothing here", {"unpack": document()})


def test_every_suite_has_a_place_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for name in SUITES:
        assert page.count(f"<!-- bench:{name} -->\n") == page.count(f"<!-- /bench:{name} -->") == 1


def test_the_plot_has_a_bar_for_every_program() -> None:
    root = ElementTree.fromstring(draw([document(), document("small")]))  # noqa: S314
    bars = [element for element in root if element.tag.endswith("rect")][1:]
    assert [round(float(bar.attrib["width"])) for bar in bars] == [180, 450, 180, 450]


def test_every_round_runs_every_candidate_in_turn_and_the_first_only_warms_up(tmp_path: Path) -> None:
    order: list[str] = []

    def one(name: str) -> Candidate:
        def commands(place: Path) -> list[list[str]]:
            order.append(name)
            code = f"open({str(place / 'file')!r}, 'w').write('abc')"
            return [[sys.executable, "-c", code]]

        return Candidate(name, "nothing", commands)

    @contextlib.contextmanager
    def ground() -> Iterator[Path]:
        place = tmp_path / f"ground-{len(order)}" / "mounted"
        place.mkdir(parents=True)
        yield place

    candidates = [one("a"), one("b")]
    run_rounds(candidates, 2, ground, expect(3, 1))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert [len(candidate.runs) for candidate in candidates] == [2, 2]
    assert all(run.seconds > 0 and run.memory > 1 << 20 for candidate in candidates for run in candidate.runs)
    with pytest.raises(RuntimeError, match="not 1 with 4"):
        run_rounds(candidates, 1, ground, expect(4, 1))
