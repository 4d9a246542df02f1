"""One thing that is known about an error."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Explanation"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known. ``phrases`` are parts of the error's text in lower case, any of which is enough.

    Otherwise ``functions`` (of hcsshim or Windows) and ``codes`` (Win32 codes, or others whole) have to be met, both
    where both are given. ``causes`` and ``steps`` are sentences; ``sources`` are issues, advisories and source files.
    """

    id: str
    title: str
    causes: tuple[str, ...]
    steps: tuple[str, ...]
    sources: tuple[str, ...]
    phrases: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    codes: tuple[int, ...] = ()
