"""A thread that helps the caller, and that can be joined at any moment.

A signal may end :meth:`threading.Thread.start` by an exception before the thread is known to run, and whoever cleans up
then joins it. The thread of the standard library answers that with an error, in place of what had happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Helper"]


class Helper(threading.Thread):
    """A thread that runs ``task`` and does not keep the program from ending.

    Whoever joins it has told it before to stop, in a way that it also finds when it begins late.
    """

    def __init__(self, task: Callable[[], object], name: str) -> None:
        super().__init__(target=task, name=name, daemon=True)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most ``timeout`` seconds; not at all for one that was never seen to begin."""
        if self.is_alive():
            super().join(timeout)
