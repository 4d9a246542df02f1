"""The documentation keeps up with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from wclayer.cli.verbs import VERBS
from wclayer.hcs import FUNCTIONS
from wclayer.image.lint import RULES

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src"
API_PAGES = sorted((ROOT / "docs" / "reference" / "api").glob("*.md"))
COMMAND_PAGES = ROOT / "docs" / "reference" / "cli"
OTHER_PAGES = {"index": "image-index"}  # index.md is the page of all commands

# cli is documented as a command line, not as Python.
PUBLIC_MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if not path.name.startswith("_") and "cli" not in path.parts
)


def test_every_public_module_has_its_place_in_the_api_reference() -> None:
    documented = [name for page in API_PAGES for name in re.findall(r"automodule:: (\S+)", page.read_text("utf-8"))]
    assert sorted(documented) == PUBLIC_MODULES


@pytest.mark.parametrize("page", [path.name for path in sorted(ROOT.glob("*.md"))])
def test_the_files_a_top_level_page_links_to_exist(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_verb_has_its_page_and_its_line() -> None:
    index = (COMMAND_PAGES / "index.md").read_text("utf-8")
    for verb in VERBS:
        page = OTHER_PAGES.get(verb, verb)
        assert (COMMAND_PAGES / f"{page}.md").exists(), verb
        assert f"[`{verb}`]({page}.md)" in index, verb


def test_every_lint_rule_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "lint-rules.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z-]+)` \| (error|warning|note) \|", page, re.MULTILINE)
    assert listed == [(rule.id, rule.severity) for rule in RULES.values()]


def test_every_function_of_hcsshim_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "hcsshim.md").read_text("utf-8")
    for function in FUNCTIONS:
        assert f"| `{function.hcsshim}` | `{function.method}` | `{function.export}` |" in page


def test_every_notice_is_explained() -> None:
    source = "".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    page = (ROOT / "docs" / "reference" / "notices.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE))
    assert set(re.findall(r"notices\.add\(\s*\"([a-z-]+)\"", source)) <= listed
    assert [code for code in listed if f'"{code}"' not in source] == []
