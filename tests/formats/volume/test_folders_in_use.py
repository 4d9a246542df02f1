"""A folder that is in use is read once, however many others come and go in the meantime."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.transport.layers import put, volume
from wclayer.formats.volume.tree import Folder, Tree


@pytest.mark.replaces_methods
def test_a_folder_of_many_folders_is_not_read_again_for_each_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = volume(tmp_path / "root")
    made.mkdir("many")
    listed: list[bytes] = []
    read = Tree._listed

    def counted(tree: Tree, folder: Folder) -> list[bytes]:
        listed.append(folder.host)
        return read(tree, folder)

    monkeypatch.setattr(Tree, "_listed", counted)
    for number in range(500):
        made.mkdir(f"many\\{number}")
        put(made, f"many\\{number}\\file")
    assert listed.count(b"many") == 0
    assert len(list(made.walk("many"))) == 1001
    assert listed.count(b"many") == 1
