"""Results as text: for the terminal, and as the tables of docs/performance.md, which stand between markers.

A table is made from one suite's JSON alone, so the page can be made again without measuring, and a suite that was not
run keeps its table.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from bench.plot import draw

__all__ = ["PAGE", "markdown", "update_page", "with_tables"]

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PLOT = PAGE.with_name("performance.svg")
_IMAGE = f"""\
```{{image}} {PLOT.name}
:alt: Bars: how many times as long as wclayer each program takes
```
"""
_PLOTTED = ("unpack", "zstd", "small")
_MARKED = re.compile(r"(<!-- bench:([a-z-]+) -->\n).*?(<!-- /bench:\2 -->)", re.DOTALL)


def markdown(document: dict[str, Any]) -> str:
    """The tables of one suite, and under what circumstances they came about."""
    first = document["rows"][0]["name"]
    lines = [
        f"| program | median s | times {first} | processor s | peak MiB | verifies |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in document["rows"]:
        numbers = (
            f"{_number(row['median'])} | {row['ratio']:.2f} | {_number(row['cpu'])} | {row['memory'] / (1 << 20):.0f}"
        )
        lines.append(f"| {row['name']} | {numbers} | {row['verifies'] or '–'} |")
    if document["targets"]:
        lines += ["", "| measured | value | target | |", "|---|--:|--:|---|"]
    for target in document["targets"]:
        unit = target["unit"]
        space = "" if unit == "×" else " "
        limit = "–"
        if target["limit"] is not None:
            limit = f"{'≥' if target['at_least'] else '≤'} {target['limit']}{space}{unit}"
        verdict = {True: "reached", False: "**not reached**", None: ""}[target["reached"]]
        lines.append(f"| {target['what']} | {_number(target['value'])}{space}{unit} | {limit} | {verdict} |")
    return "\n".join([*lines, "", _circumstances(document)])


def _circumstances(document: dict[str, Any]) -> str:
    corpus, machine = document["corpus"], document["machine"]
    versions = [row["version"] for row in document["rows"] if row["version"]]
    parts = [
        corpus["described"] if "described" in corpus else _layers(corpus),
        f"{document['rounds']} rounds after a warm-up, {document['file_system']}.",
        f"{machine['processor']}, {machine['processors']} processors, {machine['memory'] / (1 << 30):.0f} GiB, "
        f"{machine['system']}, Python {machine['python']}.",
    ]
    if versions:
        parts.append(f"{'; '.join(dict.fromkeys(versions))}.")
    if document["missing"]:
        parts.append(f"Not installed: {', '.join(document['missing'])}.")
    return " ".join(parts)


def _layers(corpus: dict[str, Any]) -> str:
    names = corpus["names"]
    return (
        f"{len(corpus['layers'])} layer(s): {corpus['entries']:,} entries ({names['file']:,} files, {names['link']:,} "
        f"hard links, {names['folder']:,} folders), {corpus['data'] / 1e6:,.0f} MB of data, "
        f"{corpus['blob'] / 1e6:,.0f} MB as {corpus['compression']}; "
        f"content: {corpus['content']}; seed {corpus['seed']}."
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def with_tables(page: str, documents: dict[str, dict[str, Any]]) -> str:
    """``page`` with the tables of ``documents`` between their markers. Raises ValueError for a suite without any."""
    marked = {match[2] for match in _MARKED.finditer(page)}
    if not documents.keys() <= marked:
        raise ValueError(f"the page has no markers for {', '.join(sorted(documents.keys() - marked))}")

    def filled(match: re.Match[str]) -> str:
        document = documents.get(match[2])
        return match[0] if document is None else f"{match[1]}{markdown(document)}\n{match[3]}"

    return _MARKED.sub(filled, page)


def update_page(folder: Path) -> None:
    """Write docs/performance.md and its plot anew from the JSON files in ``folder``."""
    documents: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        if document.get("schema") == "wclayer-bench/1":
            documents[document["suite"]] = document
    page = with_tables(PAGE.read_text("utf-8"), documents)
    plotted = [documents[name] for name in _PLOTTED if name in documents]
    if plotted:
        PLOT.write_text(draw(plotted), "utf-8")
        page = _MARKED.sub(lambda match: f"{match[1]}{_IMAGE}{match[3]}" if match[2] == "plot" else match[0], page)
    PAGE.write_text(page, "utf-8")
