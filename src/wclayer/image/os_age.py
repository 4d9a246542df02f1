"""How old the Windows of an image is, going by its newest update.

The date of an update is that of its installation, so it is the day on which whoever built the base layer serviced it.
An image with no update on record is as old as the first release of its build, which Microsoft's lifecycle pages list.
What has neither date has no age, and is not young for that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from wclayer.errors import UsageError
from wclayer.image.updates import Update, newest_update
from wclayer.image.windows_version import WindowsVersion
from wclayer.ntfs.filetime import from_text, to_text

__all__ = ["BUILD_DATES", "Age", "age_of", "parse_duration"]

BUILD_DATES: Final = {
    14393: "2016-10-12",
    16299: "2017-10-17",
    17134: "2018-04-30",
    17763: "2018-11-13",
    18362: "2019-05-21",
    18363: "2019-11-12",
    19041: "2020-05-27",
    19042: "2020-10-20",
    20348: "2021-08-18",
    25398: "2023-10-24",
    26100: "2024-11-01",
}
"""The day on which a build of Windows Server was first generally available."""

_SECOND: Final = 10_000_000  # FILETIME ticks
_UNITS: Final = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"([0-9]{1,6})([hdw])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Age:
    """``since`` is in ISO 8601, None when there is no date; ``seconds`` the age; ``basis`` a sentence on where from."""

    since: str | None
    seconds: int | None
    basis: str

    def exceeds(self, seconds: int) -> bool:
        """Whether the Windows is older than that. What has no age is."""
        return self.seconds is None or self.seconds > seconds


def parse_duration(text: str) -> int:
    """The seconds of ``45d``, ``6w`` or ``12h``; UsageError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no duration", hint="write it as 45d, 6w or 12h")
    return int(match[1]) * _UNITS[match[2]]


def age_of(version: WindowsVersion, updates: Sequence[Update], now: int) -> Age:
    """The age at ``now``, in FILETIME ticks."""
    newest = newest_update(list(updates))
    if newest is not None and newest.installed is not None:
        since, basis = newest.installed, f"{newest.name} is the update that was installed last"
    elif version.build in BUILD_DATES:
        since = from_text(f"{BUILD_DATES[version.build]}T00:00:00Z")
        basis = f"no installed update has a date, and build {version.build} came out then"
    else:
        return Age(None, None, "no installed update has a date, and when the build came out is not known")
    seconds = (now - since) // _SECOND
    if seconds < -86_400:
        return Age(to_text(since), None, f"{basis}, but that is in the future")
    return Age(to_text(since), max(seconds, 0), basis)
