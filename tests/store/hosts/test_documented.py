"""The page about hosts' stores lists what is found there, and what is planned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from wclayer.store.hosts.records import StepKind

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "host-stores.md").read_text("utf-8")


def test_every_code_of_a_finding_is_on_the_page_and_none_else() -> None:
    sources = [path.read_text("utf-8") for path in (ROOT / "src/wclayer/store/hosts").rglob("*.py")]
    codes = {code for text in sources for code in re.findall(r"Finding\(\s*\"([a-z-]+)\"", text)}
    assert len(codes) > 40
    what, _, _ = PAGE.partition("## What to do about it")
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", what, re.MULTILINE)
    listed = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
    of_both = set(re.findall(r"`([a-z-]+)`", what.partition("Of both:")[2].partition("\n\n")[0]))
    assert listed | of_both == codes


def test_every_kind_of_step_is_on_the_page() -> None:
    _, _, steps = PAGE.partition("## What to do about it")
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", steps, re.MULTILINE)
    assert {kind for row in rows for kind in re.findall(r"`([a-z-]+)`", row)} == set(get_args(StepKind))
