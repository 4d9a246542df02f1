"""Keys and values listed, described and searched."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from tests.image.registry.windows_images import UNINSTALL
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.listing import describe_key, find_value, list_registry, search_registry
from wclayer.regf import HiveKey, HiveValue, write_hive


@pytest.fixture
def registry(windows: str) -> ImageRegistry:
    return ImageRegistry.open(windows)


def test_the_hives_are_the_top(registry: ImageRegistry) -> None:
    def listed(path: str) -> list[str]:
        return [row.path for row in list_registry(registry, path)]

    assert listed("") == ["HKLM\\SAM", "HKLM\\SECURITY", "HKLM\\SOFTWARE", "HKLM\\SYSTEM", "HKU\\.DEFAULT"]
    assert listed("HKU") == ["HKU\\.DEFAULT"]
    assert listed("HKLM") == listed("")[:4]
    registry.close()


def test_a_key_is_listed_with_who_set_what(registry: ImageRegistry) -> None:
    rows = list(list_registry(registry, "HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion"))
    by_name = {row.name: row for row in rows}
    assert by_name["UBR"][:6] == (
        "value", "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "UBR", "REG_DWORD", 2322, 1
    )  # fmt: skip
    assert by_name["ProductName"].layer == 0
    assert [row.path for row in list_registry(registry, f"HKLM\\SOFTWARE\\{UNINSTALL}")] == []
    with pytest.raises(NotFoundError):
        list(list_registry(registry, "HKLM/SOFTWARE/Nothing"))
    registry.close()


def test_everything_below_is_each_key_once_with_its_values_behind_it(registry: ImageRegistry) -> None:
    rows = list(list_registry(registry, "HKLM", recursive=True))
    keys = [row.path for row in rows if row.kind == "key"]
    assert len(keys) == len(set(keys))
    here = ""
    for row in rows:
        here = row.path if row.kind == "key" else here
        assert row.path == here
    trees = [registry.root(hive) for hive in ("SAM", "SECURITY", "SOFTWARE", "SYSTEM")]
    assert len(keys) == sum(len(list(tree.walk())) for tree in trees if tree is not None)
    registry.close()


def test_a_layer_alone_shows_what_it_deletes(windows: str) -> None:
    with ImageRegistry.open(windows, layer=2) as registry:
        rows = list(list_registry(registry, f"HKLM\\SOFTWARE\\{UNINSTALL}"))
        assert [(row.kind, row.path.rpartition("\\")[2]) for row in rows] == [
            ("deleted key", "{11111111-2222-3333-4444-555555555555}")
        ]
        with pytest.raises(NotFoundError, match="this layer deletes"):
            list(list_registry(registry, rows[0].path))


def test_a_deleted_value_is_shown_too(tmp_path: Path) -> None:
    tree = HiveKey("ROOT", (HiveValue.deleted("gone"), HiveValue.dword("there", 1)))
    (tmp_path / "Software_Delta").write_bytes(write_hive(tree, name="x", delta=True))
    with ImageRegistry.open(str(tmp_path / "Software_Delta")) as registry:
        assert [(row.kind, row.name) for row in list_registry(registry, "")] == [
            ("value", "there"),
            ("deleted value", "gone"),
        ]


def test_a_key_is_described(registry: ImageRegistry) -> None:
    about = describe_key(registry, "HKLM/SYSTEM/Select")
    assert about.path == "HKLM\\SYSTEM\\Select"
    assert about.security == "O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)"
    assert about.last_write_time == "2020-01-01T00:00:00.0000000Z"
    assert about.as_dict()["values"][0] == {"name": "Current", "type": "REG_DWORD", "data": 1, "layer": 0}
    assert describe_key(registry, "HKLM/SYSTEM").subkeys == ["ControlSet001", "Select"]
    row, value = find_value(registry, "HKLM/SYSTEM/Select", "current")
    assert (row.data, value.data) == (1, b"\1\0\0\0")
    with pytest.raises(NotFoundError, match="Current"):
        find_value(registry, "HKLM/SYSTEM/Select", "nothing")
    registry.close()


def test_values_of_every_type_have_a_name_and_data(tmp_path: Path) -> None:
    values = (
        HiveValue.multi_sz("list", "a", "b"),
        HiveValue("bytes", 3, b"\0\xff"),
        HiveValue("short", 4, b"\1"),
        HiveValue("big", 5, b"\0\0\1\0"),
        HiveValue.qword("long", 1 << 40),
        HiveValue("odd", 0x1234, b""),
        HiveValue.sz("", "default"),
    )
    (tmp_path / "SYSTEM").write_bytes(write_hive(HiveKey("ROOT", values), name="x"))
    with ImageRegistry.open(str(tmp_path / "SYSTEM")) as registry:
        rows = {row.name: (row.type, row.data, row.text) for row in list_registry(registry, "HKLM/SYSTEM")}
    assert rows == {
        "list": ("REG_MULTI_SZ", ["a", "b"], "a; b"),
        "bytes": ("REG_BINARY", "00ff", "00ff"),
        "short": ("REG_DWORD", "01", "01"),
        "big": ("REG_DWORD_BIG_ENDIAN", 256, "256"),
        "long": ("REG_QWORD", 1 << 40, str(1 << 40)),
        "odd": ("0x00001234", "", ""),
        "": ("REG_SZ", "default", "default"),
    }


def test_a_search_looks_where_it_is_told(registry: ImageRegistry) -> None:
    def found(pattern: str, path: str = "", **options: bool) -> list[tuple[str, str | None]]:
        return [
            (row.path.rpartition("\\")[2].partition("~")[0], row.name)
            for row in search_registry(registry, pattern, path, **options)
        ]

    assert found("KB503[0-9]+", "HKLM/SOFTWARE", names=False, data=False) == [
        ("Package_for_KB5034129", None),
        ("Package_for_KB5034770", None),
    ]
    assert found("kb5034770~31bf.*mum", ignore_case=True) == [("Package_for_KB5034770", "InstallName")]
    assert found("(", fixed=True) == []
    assert found("%SystemRoot%", fixed=True, keys=False, names=False) == [
        ("Environment", "ComSpec"),
        ("Environment", "Path"),
        ("Environment", "TEMP"),
    ]
    assert found("^UBR$") == [("CurrentVersion", "UBR")]
    assert found("Example Runtime") == []  # its key is deleted
    with pytest.raises(UsageError):
        found("(")
    registry.close()


def test_hives_on_disk_are_mapped_and_not_copied(unpacked_windows: Path) -> None:
    with ImageRegistry.open(str(unpacked_windows)) as registry:
        buffers = registry.source.load(registry.files("SOFTWARE"))
        assert len(buffers) == 3
        assert all(isinstance(buffer, mmap.mmap) for buffer in buffers)
