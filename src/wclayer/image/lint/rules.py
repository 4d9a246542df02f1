"""A rule, and how grave it is.

Rules say what Windows refuses in a layer, what it imports otherwise than was meant, and what is merely odd.
An ``error`` makes the import fail, now or when the next layer is imported. A ``warning`` is imported, but not as it was
meant, or fails on some versions of Windows. A ``note`` is worth knowing. Identifiers are stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["SEVERITIES", "Rule", "Severity", "at_least"]

Severity: TypeAlias = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``why`` says what Windows does, ``fix`` what to change, ``sources`` where that is known from."""

    id: str
    severity: Severity
    why: str
    fix: str
    sources: tuple[str, ...] = ()


def at_least(severity: Severity, least: Severity) -> bool:
    """Whether ``severity`` is as grave as ``least``, or graver."""
    return SEVERITIES.index(severity) <= SEVERITIES.index(least)
