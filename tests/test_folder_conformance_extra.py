"""Cases beyond the public ones, whose expectations come from running hcsshim's own code, and what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.folders.rules import REASONS, Rules
from tests.conformance.folders.runner import run_folder_case

FOLDER = Path(__file__).parent / "data" / "folders-extra"
CASES = sorted(path.parent for path in FOLDER.glob("*/case.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_gives_what_the_reference_gives(case: Path) -> None:
    rules = Rules()
    assert run_folder_case(case, rules) == []
    assert set(rules.used) <= set(REASONS)


def test_every_rule_is_met_by_a_case_or_needs_what_the_stand_in_does_not_do() -> None:
    rules = Rules()
    for case in CASES:
        run_folder_case(case, rules)
    # The stand-in takes links with names of one character.
    assert set(REASONS) - set(rules.used) == {"short-link-name"}
