"""Disks with an NTFS volume, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import require
from wclayer.formats.disk.mkntfs import has_mkntfs
from wclayer.formats.disk.scratch import create_blank, create_blank_base

SMALL = 96 << 20


@pytest.fixture(scope="session")
def base_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``blank-base.vhdx`` of 96 MiB and ``blank.vhdx`` on it; not to be changed."""
    if not has_mkntfs():
        require("mkntfs")
    folder = tmp_path_factory.mktemp("base")
    create_blank_base(folder / "blank-base.vhdx", SMALL)
    create_blank(folder / "blank.vhdx", folder / "blank-base.vhdx")
    return folder
