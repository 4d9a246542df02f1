"""Errors compared: the number that Windows has for them, else what their texts mean."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.folders.rules import Rules
from wclayer.errors import FormatError, LimitError, WclayerError

__all__ = ["compare_error", "winerror_of"]

_GENERAL_FAILURE = 31  # what hcsshim's wrapper calls an error that Windows did not give
_GO_ERRNO = 1 << 29  # numbers that Go invents for what Windows does not have

# What the reference says, and what ours must then say or be.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (r"expected relative path", "expected relative path"),
    (r"path contains invalid character", "path contains invalid character"),
    (r"(unexpected link .* in layer)", "\\1"),
    (r"(unexpected alternate stream .* in layer)", "\\1"),
    (r"missing UtilityVM directory", "missing UtilityVM directory"),
    (r"invalid UtilityVM layer", "invalid UtilityVM layer"),
    (r"invalid hard link in layer", "invalid hard link in layer"),
    (r"(failed to find link target for '.*' -> '.*')", "\\1"),
    (r"(invalid tombstone (?!s).*)", "\\1"),
    (r"base layer cannot have tombstones", "base layer cannot have tombstones"),
    (r"invalid tombstones file", "invalid tombstones file"),
    (r"token too long", "kind:limit"),
    (r"parsing .*(invalid syntax|value out of range)", "kind:attributes-number"),
    (r"illegal base64", "kind:base64"),
    (r"(unknown stream ID \d+)", "\\1"),
    (r"extended attribute name too large", "kind:ea-name-too-large"),
    (r"extended attribute value too large", "kind:ea-value-too-large"),
    (r"mismatch between file size (\d+) and header size (\d+)", "mismatch between file size"),
    (r"(unsupported reparse point)", "\\1"),
    (r"sparse alternate data streams are unsupported", "kind:sparse-ads"),
    (r"cannot seek back", "cannot seek back"),
    (r"write too long", "kind:data-too-long|size-mismatch"),
    (r"missed writing", "kind:data-too-short"),
    (r"unexpected EOF|^EOF$|: EOF$", "kind:unexpected-eof"),
    (r"invalid tar header", "kind:tar-header|unexpected-eof"),
    (r"invalid EA buffer|invalid.*extended attribute|extended attribute buffer", "kind:ea-buffer|malformed"),
    (r": closed$|^closed$", "closed"),
    (r"cloning the parent utility VM image failed", "cloning the parent utility VM image failed"),
)


def winerror_of(error: WclayerError) -> int | None:
    """The Win32 code or HRESULT that an error carries."""
    number = getattr(error, "winerror", None)
    number = getattr(error, "code", None) if number is None else number
    return number if isinstance(number, int) else None


def compare_error(ours: WclayerError | None, expected: dict[str, Any] | None, rules: Rules) -> str | None:
    """None when both mean the same, else the difference."""
    if ours is None or expected is None:
        if ours is None and expected is None:
            return None
        return f"ended with {ours!r} ({ours}), expected {expected and expected['text']!r}"
    errno = expected.get("errno")
    if errno is not None and (errno < _GO_ERRNO or errno >= 1 << 31) and errno != _GENERAL_FAILURE:
        if winerror_of(ours) == errno:
            return None
        return f"error {winerror_of(ours)} ({ours}), expected {errno} ({expected['text']})"
    text = expected["text"]
    for pattern, meaning in _MEANINGS:
        match = re.search(pattern, text)
        if match is None:
            continue
        if meaning.startswith("kind:"):
            kind = ours.kind if isinstance(ours, FormatError) else "limit" if isinstance(ours, LimitError) else ""
            if kind in meaning[5:].split("|"):
                return None
        elif match.expand(meaning).lower() in str(ours).lower():
            return None
        return f"error {ours}, expected {text!r}"
    rules.unread_texts[text] += 1
    return None
