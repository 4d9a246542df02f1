"""Hostile layers: each is refused, by name, with exit code 6, and nothing is ever left or touched."""

from __future__ import annotations

import pytest

from tests.hostile.cases import NAME_CASES, Case
from tests.hostile.format_cases import FORMAT_CASES
from tests.hostile.link_cases import LINK_CASES, ORDER_CASES
from tests.hostile.world import World

CASES = [*NAME_CASES, *LINK_CASES, *ORDER_CASES, *FORMAT_CASES]


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_import_refuses(case: Case, world: World) -> None:
    world.import_refused(case.make(), *case.mentions, with_parent=case.with_parent)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_unpack_refuses(case: Case, world: World) -> None:
    world.unpack_refused(case.make(), *case.mentions, with_parent=case.with_parent)
