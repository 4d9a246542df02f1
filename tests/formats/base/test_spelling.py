"""The top folders of a base layer are called what Windows calls them, however the layer's folder spells them."""

from __future__ import annotations

from pathlib import Path

from wclayer.formats.base import BaseLayerReader
from wclayer.formats.transport.utility_vm import clone_utility_vm
from wclayer.formats.volume import Manifest, Volume


def make(root: Path, *paths: str) -> Volume:
    root.mkdir()
    volume = Volume(root, Manifest(None))
    for path in paths:
        if path.endswith("\\"):
            volume.mkdir_all(path)
        else:
            volume.create(path).close()
    return volume


def test_entries_are_spelt_as_the_format_spells_them(tmp_path: Path) -> None:
    paths = ("files\\", "files\\Mixed", "utilityvm\\FILES\\", "utilityvm\\FILES\\Kernel", "utilityvm\\other")
    with make(tmp_path / "layer", *paths) as volume, BaseLayerReader(volume) as reader:
        found = []
        while (head := reader.next()) is not None:
            found.append(head.path)
    assert found == [
        "Files",
        "Files\\Mixed",
        "UtilityVM",
        "UtilityVM\\Files",
        "UtilityVM\\Files\\Kernel",
    ]


def test_a_clone_is_spelt_so_too_and_leaves_the_parent_as_it_is(tmp_path: Path) -> None:
    with (
        make(tmp_path / "parent", "utilityvm\\files\\", "utilityvm\\files\\Kernel") as parent,
        make(tmp_path / "layer") as layer,
    ):
        clone_utility_vm(parent, layer)
        assert [status.path for status in layer.walk("UtilityVM")] == [
            "UtilityVM",
            "UtilityVM\\Files",
            "UtilityVM\\Files\\Kernel",
        ]
        assert [status.path for status in parent.walk("utilityvm")] == [
            "utilityvm",
            "utilityvm\\files",
            "utilityvm\\files\\Kernel",
        ]
