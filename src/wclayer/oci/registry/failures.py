"""An answer that is no success, as an error that says what was asked of whom, why it failed, and what to do.

Registries explain themselves in the JSON of the distribution specification (``errors`` with ``code`` and ``message``);
it is quoted as far as it is short and printable. A registry may say 404 where it means 403, so 404 says both.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from wclayer.errors import AuthenticationError, NetworkError, NotFoundError, UnsupportedError, WclayerError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.challenge import parse_challenges
from wclayer.oci.registry.redaction import printable

__all__ = ["ERROR_LIMIT", "failure", "server_words"]

ERROR_LIMIT = 64 << 10
"""The most that is read of an answer that is an error, in bytes."""

_QUOTED = 4
_STATUS = {
    400: "bad request",
    408: "request timeout",
    409: "conflict",
    413: "too large",
    416: "range not satisfiable",
    429: "too many requests",
    499: "client closed request",
    500: "internal server error",
    501: "not implemented",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timeout",
}


def failure(
    answer: Answer,
    what: str,
    *,
    host: str,
    hide: Callable[[str], str] = str,
    credentials: str = "",
    login: str = "",
) -> WclayerError:
    """The error for ``answer``, whose body is read as far as it explains something, and closed.

    ``what`` is what was asked for, ``host`` who was asked, ``hide`` removes secrets from what a server said,
    ``credentials`` says whose were used (``those of NAME from FILE``), empty for none, and ``login`` is the registry
    to log in to, empty when that would not help.
    """
    status = answer.status
    codes, words = server_words(answer)
    said = f": {hide(words)}" if words else ""
    if status in (401, 403) and not login:
        return NetworkError(f"{host} refuses {what} (HTTP {status}){said}")
    if status == 401 and not credentials:
        hint = f"log in with: wclayer login {login}"
        return AuthenticationError(f"{host} wants to know who asks for {what}{said}", hint=hint)
    if status == 401 and not _lacks_right(answer):
        hint = f"log in again with: wclayer login {login}"
        return AuthenticationError(f"{host} does not accept {credentials} for {what}{said}", hint=hint)
    if status in (401, 403):
        whose = f"with {credentials}" if credentials else "without credentials"
        hint = "the account lacks the right" if credentials else f"log in with: wclayer login {login}"
        return AuthenticationError(f"{host} denies {what}, which was asked for {whose}{said}", hint=hint)
    if status == 404:
        advice = None if credentials or not login else f"for a private one log in with: wclayer login {login}"
        return NotFoundError(f"{host}: {what}: not found or no access{said}", hint=advice)
    if status == 405 or "UNSUPPORTED" in codes:
        return UnsupportedError(f"{host} does not support it: {what} (HTTP {status}){said}")
    if status == 429:
        hint = "wait, or log in: accounts often have higher limits" if not credentials else "wait before the next try"
        return NetworkError(f"{host} gets too many requests and refuses {what}{said}", hint=hint)
    if 300 <= status < 400:
        return NetworkError(f"{host} sends {what} elsewhere (HTTP {status}) without saying where in a way that counts")
    reason = f"HTTP {status}" + (f", {_STATUS[status]}" if status in _STATUS else "")
    return NetworkError(f"{host} fails at {what} ({reason}){said}")


def _lacks_right(answer: Answer) -> bool:
    """Whether 401 was said to somebody who is known, but may not do this (RFC 6750)."""
    challenges = parse_challenges(answer.header_values("www-authenticate"))
    return any(challenge.parameters.get("error") == "insufficient_scope" for challenge in challenges)


def server_words(answer: Answer) -> tuple[set[str], str]:
    """The error codes that a registry gave, and its own words, short and printable; closes the answer."""
    if answer.method == "HEAD":
        answer.drain()
        return set(), ""
    raw = _head(answer)
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "text/plain")
        text = raw.decode("utf-8", "replace").strip() if kind.startswith("text/plain") else ""
        return set(), printable(" ".join(text.split()))
    errors = document.get("errors") if isinstance(document, dict) else None
    if not isinstance(errors, list):
        details = document.get("details") or document.get("error_description") if isinstance(document, dict) else ""
        return set(), printable(details) if isinstance(details, str) else ""
    codes, sentences = set(), []
    for error in errors[:_QUOTED]:
        if isinstance(error, dict):
            code, message = (str(error.get(key) or "") for key in ("code", "message"))
            codes.add(code.upper())
            sentences.append(": ".join(part for part in (code, message) if part))
    return codes, printable("; ".join(sentence for sentence in sentences if sentence))


def _head(answer: Answer) -> bytes:
    """As much of the body as an explanation may be long; what is longer is cut, and what breaks off is what it is."""
    pieces, left = [], ERROR_LIMIT
    with answer:
        try:
            while left > 0 and (piece := answer.read_some(min(left, 1 << 14))):
                pieces.append(piece)
                left -= len(piece)
        except NetworkError:
            return b"".join(pieces)
    return b"".join(pieces)
