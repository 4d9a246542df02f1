"""The page for those who know hcsshim says the truth: its names exist, and so do the texts that callers look for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import wclayer.errors
import wclayer.formats.volume
import wclayer.hcs
from wclayer.hcs.computestorage import ComputeStorage

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "reference" / "hcsshim.md").read_text("utf-8")
SOURCE = "".join(path.read_text("utf-8") for path in (ROOT / "src").rglob("*.py")).replace("\\\\", "\\")


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, code marks taken off."""
    below = PAGE.split(f"{heading}\n", 1)[1]
    lines = re.search(r"\|---.*\n((?:\|.*\n)+)", below)
    assert lines is not None
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1].splitlines()]
    return [[cell.strip("| ").strip("`") for cell in row] for row in cells]


@pytest.mark.parametrize("row", rows("## The texts of errors"), ids=lambda row: row[0])
def test_a_text_of_the_page_is_in_a_message(row: list[str]) -> None:
    text, _, error = row
    assert re.search(rf"{re.escape(text)}", SOURCE), text
    if error != "as that":
        assert any(hasattr(module, error) for module in (wclayer.errors, wclayer.hcs, wclayer.formats.volume)), error


@pytest.mark.parametrize("row", rows("### computestorage.dll"), ids=lambda row: row[0])
def test_a_function_of_computestorage_has_its_method_and_its_words(row: list[str]) -> None:
    export, method, words = row
    assert callable(getattr(ComputeStorage, method))
    assert f'"{export}"' in SOURCE
    assert f'"{words}"' in SOURCE


def test_every_method_of_computestorage_is_on_the_page() -> None:
    methods = {name for name, value in vars(ComputeStorage).items() if callable(value) and not name.startswith("_")}
    assert {method for _, method, _ in rows("### computestorage.dll")} == methods


def test_every_module_and_name_on_the_page_exists() -> None:
    for dotted in re.findall(r"`(wclayer\.[a-z_.]+[A-Za-z_]+)`", PAGE):
        module, _, name = dotted.rpartition(".")
        found = __import__(module, fromlist=[name])
        assert hasattr(found, name), dotted
