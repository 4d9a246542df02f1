"""Explaining an error of hcsshim, of Windows, or of the tools around them: what it means, and what to do next.

The text is searched for phrases, for names of functions, and for codes in any of their forms: an HRESULT, a Win32 code,
or the sentence that Windows says for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.errors import NotFoundError
from wclayer.hcs.failures import MESSAGES, win32_code, win32_message
from wclayer.image.explain_entry import Explanation
from wclayer.image.explain_layers import LAYER_ERRORS
from wclayer.image.explain_texts import TEXTS

__all__ = ["EXPLANATIONS", "Code", "Explained", "explain"]

EXPLANATIONS = (*LAYER_ERRORS, *TEXTS)
"""All that is known."""

_HEX = re.compile(r"0x([0-9a-fA-F]{1,8})\b")
_NEGATIVE = re.compile(r"(?<![0-9])-(2[0-9]{9}|1[0-9]{9})\b")
_NUMBER = re.compile(r"(?:win32|windows|system|exit|error)\s*(?:error|code)?\s*[:=#]?\s*\(?([0-9]{1,5})\b")
_MAX_TEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class Code:
    """A code in the text: as it stands there, the Win32 code in it (or all of it), and what Windows says of it."""

    text: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Explained:
    """What the text holds, and what is known about it, the most specific first."""

    codes: tuple[Code, ...]
    functions: tuple[str, ...]
    explanations: tuple[Explanation, ...]


def explain(text: str) -> Explained:
    """What is known about the error ``text``. Raises NotFoundError when that is nothing."""
    text = text[:_MAX_TEXT]
    lower = " ".join(text.lower().split())
    codes = _codes(text, lower)
    numbers = {code.code for code in codes}
    functions = _functions(text)
    ranked = []
    for place, entry in enumerate(EXPLANATIONS):
        rank = _rank(entry, lower, functions, numbers)
        if rank:
            ranked.append((-rank, place, entry))
    ranked.sort(key=lambda one: one[:2])
    known = tuple(code for code in codes if code.message)
    if not ranked and not known:
        raise NotFoundError(
            "nothing is known about this error",
            hint="give the whole text, with the name of the function and the code in it (0x3)",
        )
    return Explained(codes, tuple(sorted(functions)), tuple(entry for _, _, entry in ranked))


def _rank(entry: Explanation, text: str, functions: set[str], codes: set[int]) -> int:
    """How well an explanation fits: 3 its words, or function and code; 2 its code, which is all it asks; 0 not."""
    if any(phrase in text for phrase in entry.phrases):
        # A sentence of Windows is only another form of a code: the function has to fit, too, where one is named.
        if not entry.functions or not functions or functions & set(entry.functions):
            return 3
        return 0
    if entry.functions and entry.codes:
        return 3 if functions & set(entry.functions) and codes & set(entry.codes) else 0
    if entry.codes:
        return 2 if codes & set(entry.codes) else 0
    return 0


def _functions(text: str) -> set[str]:
    known = {name for entry in EXPLANATIONS for name in entry.functions}
    words = set(re.findall(r"[A-Za-z]+", text))
    by_lower = {name.lower(): name for name in known}
    return {by_lower[word.lower()] for word in words if word.lower() in by_lower}


def _codes(text: str, lower: str) -> tuple[Code, ...]:
    found: dict[int, str] = {}
    for match in _HEX.finditer(text):
        found.setdefault(win32_code(int(match[1], 16)), match[0])
    for match in _NEGATIVE.finditer(text):
        found.setdefault(win32_code(-int(match[1])), match[0])
    for match in _NUMBER.finditer(lower):
        found.setdefault(int(match[1]), match[1])
    for code, message in MESSAGES.items():
        if message.lower().rstrip(".") in lower:
            found.setdefault(code, message)
    return tuple(Code(shown, code, win32_message(code) if code in MESSAGES else "") for code, shown in found.items())
