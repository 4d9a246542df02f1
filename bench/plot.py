"""The plot of docs/performance.md: how long each program takes, ours being 1, as bars in plain SVG."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

__all__ = ["draw"]

_WIDTH, _LEFT, _RIGHT = 760, 250, 60
_BAR, _STEP, _GROUP = 16, 22, 44
_OURS, _THEIRS, _FLOOR = "#c2410c", "#64748b", "#cbd5e1"


def draw(documents: list[dict[str, Any]]) -> str:
    """One group of bars for each suite. A light ground of its own makes it readable on a dark page."""
    longest = max(row["ratio"] for document in documents for row in document["rows"])
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    parts: list[str] = []
    top = 20
    for document in documents:
        top += 16
        parts.append(_text(16, top, document["title"], weight="600"))
        top += 10
        begin = top
        for row in document["rows"]:
            ours, floor = row["name"].startswith("wclayer"), row["name"].startswith("floor")
            color = _OURS if ours else _FLOOR if floor else _THEIRS
            length = max(row["ratio"] * scale, 1)
            parts.append(_text(_LEFT - 8, top + 13, row["name"], anchor="end"))
            parts.append(f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>')
            parts.append(_text(_LEFT + length + 6, top + 13, f"{row['ratio']:.2f}"))
            top += _STEP
        one = _LEFT + scale
        parts.append(
            f'<line x1="{one:.1f}" y1="{begin - 4}" x2="{one:.1f}" y2="{top}" stroke="{_OURS}" stroke-dasharray="3 3"/>'
        )
        top += _GROUP - _STEP
    top += 8
    parts.append(_text(16, top, "median wall time; wclayer is 1, a longer bar takes longer", color="#475569"))
    height = top + 16
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "400", color: str = "#0f172a") -> str:
    style = f'text-anchor="{anchor}" font-weight="{weight}" fill="{color}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
