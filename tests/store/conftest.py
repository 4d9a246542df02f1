"""Drivers and layers for the tests of the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wclayer.store.driver import MergedMounts, WindowsFilterDriver


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[WindowsFilterDriver]:
    """A driver whose Get gives the folder of a layer."""
    with WindowsFilterDriver(tmp_path / "windowsfilter", patience=5) as opened:
        yield opened


@pytest.fixture
def merged(tmp_path: Path) -> Iterator[WindowsFilterDriver]:
    """A driver whose Get gives the merged tree."""
    with WindowsFilterDriver(tmp_path / "windowsfilter", mounts=MergedMounts(), patience=5) as opened:
        yield opened
