"""The disks of read-write layers, for those who hand a store on to Windows.

On Windows the changes of a container lie on ``sandbox.vhdx``, a copy of a template. Here they lie in folders, and the
disk beside them is an empty one of the size that was asked for.
"""

from __future__ import annotations

from pathlib import Path

from wclayer.errors import StoreError
from wclayer.formats.disk.scratch import DEFAULT_SIZE, create_blank, create_blank_base, create_sandbox
from wclayer.store.driver.home import DriverHome

__all__ = ["SANDBOX", "ScratchDisks"]

SANDBOX = "sandbox.vhdx"
_LOCK = "+disks"


class ScratchDisks:
    """Makes disks from a template of 20 GiB in the private folder of ``home``, which the first one makes."""

    def __init__(self, home: DriverHome) -> None:
        self._home = home
        self._folder = home.locks.folder / "disks"

    def make(self, folder: Path, size: int) -> None:
        """Make ``sandbox.vhdx`` of ``size`` bytes in ``folder``, which lies in the home.

        Raises UnsupportedError without the program ``mkntfs``, UsageError for less than the template has, StoreError.
        """
        create_sandbox(folder / SANDBOX, self._template(), size or DEFAULT_SIZE, within=[self._home.home])

    def _template(self) -> Path:
        base, blank = self._folder / "blank-base.vhdx", self._folder / "blank.vhdx"
        with self._home.locks.layer(_LOCK, exclusive=True):
            try:
                self._folder.mkdir(exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make {self._folder}: {error.strerror}") from error
            if not blank.exists():
                if not base.exists():
                    create_blank_base(base)
                create_blank(blank, base)
        return blank
