"""All rules by their identifiers."""

from __future__ import annotations

from wclayer.image.lint.content_rules import HIVES, IMAGE, METADATA, UTILITY_VM
from wclayer.image.lint.link_rules import LINKS, STREAMS, WHITEOUTS
from wclayer.image.lint.rules import Rule
from wclayer.image.lint.shape_rules import NAMES, SHAPE

__all__ = ["RULES"]

RULES: dict[str, Rule] = {
    rule.id: rule
    for group in (SHAPE, NAMES, STREAMS, LINKS, WHITEOUTS, METADATA, HIVES, UTILITY_VM, IMAGE)
    for rule in group
}
"""In the order in which they are listed."""
