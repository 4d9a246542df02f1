"""What is exported is the effective registry, and other programs read it so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.registry.windows_images import UNINSTALL
from tests.peers import missing
from tests.regf.other_readers import READERS, Reader, expected
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.registry import HIVES, ImageRegistry
from wclayer.image.registry.exporting import ExportFormat, export_registry
from wclayer.regf import Hive, HiveKey, HiveValue, first_difference, write_hive
from wclayer.regf.text import parse_reg


def exported(place: str, path: str, form: ExportFormat, *, layer: int | None = None, utf16: bool = True) -> bytes:
    data = bytearray()
    with ImageRegistry.open(place, layer=layer) as registry:
        assert export_registry(registry, path, form, data.extend, utf16=utf16) == []
    return bytes(data)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.label)
def test_a_hive_is_read_alike_by_other_readers(reader: Reader, windows: str, tmp_path: Path) -> None:
    if not reader.available:
        missing(reader.label)
    path = tmp_path / "SOFTWARE"
    path.write_bytes(exported(windows, "HKLM/SOFTWARE", "hive"))
    with ImageRegistry.open(windows) as registry:
        tree = registry.tree("HKLM/SOFTWARE")
    assert tree is not None
    seen = reader.read(path, False)
    wanted = expected(reader, tree, None)
    assert seen.keys() == wanted.keys()
    assert {where: one.values for where, one in seen.items()} == {where: one.values for where, one in wanted.items()}


def test_a_hive_holds_the_merged_tree_and_is_no_delta(windows: str) -> None:
    hive = Hive(exported(windows, "HKLM/SOFTWARE", "hive"))
    assert not hive.is_delta
    with ImageRegistry.open(windows) as registry:
        tree = registry.tree("HKLM/SOFTWARE")
    assert tree is not None
    assert first_difference(hive.tree(), tree) is None


def test_a_key_below_becomes_the_root_of_its_hive(windows: str) -> None:
    hive = Hive(exported(windows, "HKLM/SYSTEM/CurrentControlSet/Services", "hive"))
    assert hive.root.name == "Services"
    assert hive.key("Dhcp").value("start") == HiveValue.dword("Start", 2)


def test_the_delta_of_one_layer_stays_a_delta(windows: str) -> None:
    hive = Hive(exported(windows, "HKLM/SOFTWARE", "hive", layer=2))
    assert hive.is_delta
    text = exported(windows, "HKLM/SOFTWARE", "reg", layer=2)
    gone = [section.path for section in parse_reg(text) if section.deleted]
    assert gone == [f"HKEY_LOCAL_MACHINE\\SOFTWARE\\{UNINSTALL}\\{{11111111-2222-3333-4444-555555555555}}"]
    keys = json.loads(exported(windows, "HKLM/SOFTWARE", "json", layer=2))["keys"]
    assert keys[-1]["layer_flags"] == 1


def test_registry_text_is_what_regedit_takes(windows: str) -> None:
    text = exported(windows, "HKLM/SYSTEM", "reg")
    assert text[:2] == b"\xff\xfe"
    decoded = text.decode("utf-16")
    assert decoded.startswith("Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SYSTEM]\r\n")
    assert exported(windows, "HKLM/SYSTEM", "reg", utf16=False).decode() == decoded
    sections = {section.path: section.values for section in parse_reg(text)}
    with ImageRegistry.open(windows) as registry:
        root = registry.root("SYSTEM")
        assert root is not None
        wanted = {f"HKEY_LOCAL_MACHINE\\SYSTEM\\{key.path}".rstrip("\\"): list(key.values) for key in root.walk()}
    assert sections == wanted


def test_json_lists_all_keys_of_all_hives(windows: str) -> None:
    document = json.loads(exported(windows, "", "json"))
    assert document["schema"] == "wclayer.reg.export/1"
    by_path = {key["path"]: key for key in document["keys"]}
    assert {path.split("\\")[1] for path in by_path} == {*HIVES[:-1], ".DEFAULT"}
    values = {one["name"]: one for one in by_path["HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"]["values"]}
    assert values["UBR"] == {"name": "UBR", "type": "REG_DWORD", "data": 2322}
    assert values["ProductName"]["data"] == "Windows Server 2022 Datacenter"


def test_what_cannot_be_exported_is_an_error(windows: str) -> None:
    with pytest.raises(UsageError):
        exported(windows, "HKLM", "hive")
    with pytest.raises(NotFoundError):
        exported(windows, "HKLM/SOFTWARE/Nothing", "reg")


def test_what_text_cannot_say_is_returned(tmp_path: Path) -> None:
    tree = HiveKey("ROOT", (HiveValue.sz("a\0b", "x"),), (HiveKey("line\nend"), HiveKey("fine")))
    (tmp_path / "SOFTWARE").write_bytes(write_hive(tree, name="x"))
    data = bytearray()
    with ImageRegistry.open(str(tmp_path / "SOFTWARE")) as registry:
        skipped = export_registry(registry, "", "reg", data.extend)
    assert len(skipped) == 2
    assert [section.path.rpartition("\\")[2] for section in parse_reg(bytes(data))] == ["SOFTWARE", "fine"]
