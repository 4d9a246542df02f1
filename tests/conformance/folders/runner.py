"""The items of a case of this schema, each by its kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.folders.cims import run_cim
from tests.conformance.folders.codec import run_codec, run_tar2bak
from tests.conformance.folders.exports import run_bak2tar, run_export
from tests.conformance.folders.imports import run_import
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.safefile import run_safefile

__all__ = ["is_folder_case", "run_folder_case"]

_IMPORTS = ("import-legacy", "import-full", "import-base")
_EXPORTS = ("export-legacy", "export-base")


def is_folder_case(case: Path) -> bool:
    """Whether the case is of this schema: it has items."""
    return "items" in json.loads((case / "case.json").read_bytes())


def run_folder_case(case: Path, rules: Rules) -> list[str]:
    """The differences of all items. A crash is one."""
    differences = []
    for item in json.loads((case / "case.json").read_bytes())["items"]:
        try:
            differences += [f"{item['name']}: {line}" for line in _run_item(case, item, rules)]
        except Exception as error:  # the other items still have something to say
            differences.append(f"{item['name']}: {type(error).__name__}: {error}")
    return differences


def _run_item(case: Path, item: dict[str, Any], rules: Rules) -> Iterator[str]:
    kind = item["kind"]
    if kind in _IMPORTS:
        yield from run_import(case, item, kind, rules)
    elif kind in _EXPORTS:
        yield from run_export(case, item, kind, rules)
    elif kind == "safefile":
        yield from run_safefile(case, item, rules)
    elif kind == "codec":
        yield from run_codec(case, item, rules)
    elif kind == "tar2bak":
        yield from run_tar2bak(case, item, rules)
    elif kind == "bak2tar":
        yield from run_bak2tar(case, item, rules)
    elif kind == "cim":
        yield from run_cim(case, item, rules)
    else:
        yield f"an item of the unknown kind {kind!r}"
