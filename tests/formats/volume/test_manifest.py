"""Who reads a manifest sees one state of it, whoever writes meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wclayer.formats.volume import Manifest
from wclayer.formats.volume.record import Record


def test_what_is_being_read_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "manifest"
    manifest = Manifest(path)
    for name in (b"a", b"b"):
        manifest.put(name, Record(attributes=1))
    manifest.close()

    change = "UPDATE nodes SET attributes = 2"
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
        reader = Manifest(path, read_only=True)
        assert [record.attributes for record in (reader.get(b"a"),) if record] == [1]
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute(change)
        assert [record.attributes for record in (reader.get(b"b"),) if record] == [1]
        reader.close()
        other.execute(change)

    reader = Manifest(path, read_only=True)
    assert [record.attributes for record in map(reader.get, (b"a", b"b")) if record] == [2, 2]
    reader.close()
