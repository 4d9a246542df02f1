"""When to try again, and how long to wait before: longer each time, never all at once, and as long as a server says."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from wclayer.errors import NetworkError

__all__ = ["LONGEST_WAIT", "RETRIED", "Patience", "retry_after"]

RETRIED = frozenset({408, 429, 499, 500, 502, 503, 504, 522})
"""Statuses that say nothing about the request itself: a busy or broken server, a timeout."""

LONGEST_WAIT = 300.0
"""The longest time, in seconds, that is waited because a server says so; beyond it the request fails and says why."""

_FIRST, _FACTOR, _LONGEST = 0.5, 2.0, 30.0


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """The seconds that ``Retry-After`` asks to wait, given as seconds or as a date; None when it says nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    try:
        return max(0.0, date.timestamp() - (time.time() if now is None else now))
    except (ValueError, OverflowError):
        return None


class Patience:
    """The waiting of one client, ``retries`` times.

    From half a second to half a minute, each shortened by chance so that many clients do not come back together; or
    ``delay`` seconds each. Closing ends all waiting.
    """

    def __init__(self, retries: int, delay: float | None) -> None:
        self.retries = retries
        self._delay = delay
        self._ended = threading.Event()

    def delay(self, attempt: int, asked: float | None = None) -> float:
        """The seconds before attempt ``attempt`` + 1, where the first is 0; at least what a server has asked for."""
        own = self._delay
        if own is None:
            longest: float = min(_FIRST * _FACTOR**attempt, _LONGEST)
            own = longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing is protected by it
        return max(own, asked or 0.0)

    def wait(self, seconds: float) -> None:
        """Wait; NetworkError when the client is closed meanwhile."""
        if self._ended.wait(seconds):
            raise NetworkError("the registry client was closed")

    def end(self) -> None:
        """End all waiting, now and later."""
        self._ended.set()
