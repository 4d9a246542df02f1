"""Every function of computestorage.dll gets the strings it wants, the JSON documents byte for byte."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.hcs.fake_library import library, text
from wclayer.errors import UnsupportedError
from wclayer.hcs.computestorage import ComputeStorage
from wclayer.hcs.failures import HcsError
from wclayer.hcs.layer_data import Layer, LayerData, OsLayerOptions, export_options, layers_of
from wclayer.hcs.native import WideString

LAYER, FOLDER, EMPTY = "C:\\layers\\5", "C:\\temp\\hcs1", '{"SchemaVersion":{}}'
DATA = LayerData(2, 1, (Layer("bd9c3ef9-f239-59b5-a27e-15c523b1d149", "C:\\layers\\4"),))
DATA_TEXT = (
    '{"SchemaVersion":{"Major":2,"Minor":1},'
    '"Layers":[{"Id":"bd9c3ef9-f239-59b5-a27e-15c523b1d149","Path":"C:\\\\layers\\\\4"}]}'
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (LayerData(), EMPTY),
        (DATA, DATA_TEXT),
        (LayerData(filter_type="UnionFS"), '{"SchemaVersion":{},"FilterType":"UnionFS"}'),
        (LayerData(2, 0), '{"SchemaVersion":{"Major":2}}'),
        (
            LayerData(2, 1, (Layer("i", "p", "AbsolutePath", "Disabled"),), "WCIFS"),
            '{"SchemaVersion":{"Major":2,"Minor":1},"Layers":[{"Id":"i","Path":"p","PathType":"AbsolutePath",'
            '"Cache":"Disabled"}],"FilterType":"WCIFS"}',
        ),
        (
            LayerData(layers=(Layer(path="C:\\ä<&>\u2028"),)),
            '{"SchemaVersion":{},"Layers":[{"Path":"C:\\\\ä\\u003c\\u0026\\u003e\\u2028"}]}',
        ),
        (OsLayerOptions(), "{}"),
        (OsLayerOptions("Container"), '{"Type":"Container"}'),
        (
            OsLayerOptions("Vm", True, True),
            '{"Type":"Vm","DisableCiCacheOptimization":true,"SkipUpdateBcdForBoot":true}',
        ),
    ],
)
def test_55_documents_are_those_of_go(document: LayerData | OsLayerOptions, expected: str) -> None:
    assert document.to_json() == expected


def test_55_export_options() -> None:
    assert export_options(writable=True) == '{"IsWritableLayer":true}'
    assert export_options(writable=False) == "{}"


def test_layers_have_the_guids_of_hcsshim() -> None:
    assert layers_of(["C:\\layers\\4"]) == DATA.layers


CALLS: list[tuple[str, str, Callable[[ComputeStorage], object], list[str | int]]] = [
    (
        "HcsImportLayer",
        "failed to import layer",
        lambda one: one.import_layer(LAYER, FOLDER, DATA),
        [LAYER, FOLDER, DATA_TEXT],
    ),
    (
        "HcsExportLayer",
        "failed to export layer",
        lambda one: one.export_layer(LAYER, FOLDER, DATA),
        [LAYER, FOLDER, DATA_TEXT, "{}"],
    ),
    (
        "HcsExportLayer",
        "failed to export layer",
        lambda one: one.export_layer(LAYER, FOLDER, LayerData(), writable=True),
        [LAYER, FOLDER, EMPTY, '{"IsWritableLayer":true}'],
    ),
    (
        "HcsExportLegacyWritableLayer",
        "failed to export legacy writable layer",
        lambda one: one.export_legacy_writable_layer("M:", LAYER, FOLDER, LayerData()),
        ["M:", LAYER, FOLDER, EMPTY],
    ),
    ("HcsDestroyLayer", "failed to destroy layer", lambda one: one.destroy_layer(LAYER), [LAYER]),
    (
        "HcsSetupBaseOSLayer",
        "failed to setup base OS layer",
        lambda one: one.setup_base_os_layer(LAYER, 77, OsLayerOptions("Vm")),
        [LAYER, 77, '{"Type":"Vm"}'],
    ),
    (
        "HcsSetupBaseOSVolume",
        "failed to setup base OS layer",
        lambda one: one.setup_base_os_volume(LAYER, "V:", OsLayerOptions()),
        [LAYER, "V:", "{}"],
    ),
    (
        "HcsInitializeWritableLayer",
        "failed to intitialize container layer",
        lambda one: one.initialize_writable_layer(LAYER, DATA),
        [LAYER, DATA_TEXT, ""],
    ),
    (
        "HcsInitializeLegacyWritableLayer",
        "failed to initialize legacy writable layer",
        lambda one: one.initialize_legacy_writable_layer("M:", LAYER, LayerData()),
        ["M:", LAYER, EMPTY, ""],
    ),
    (
        "HcsAttachLayerStorageFilter",
        "failed to attach layer storage filter",
        lambda one: one.attach_layer_storage_filter(LAYER, DATA),
        [LAYER, DATA_TEXT],
    ),
    (
        "HcsDetachLayerStorageFilter",
        "failed to detach layer storage filter",
        lambda one: one.detach_layer_storage_filter(LAYER),
        [LAYER],
    ),
    (
        "HcsAttachOverlayFilter",
        "failed to attach overlay filter",
        lambda one: one.attach_overlay_filter("V:", LayerData(filter_type="WCIFS")),
        ["V:", '{"SchemaVersion":{},"FilterType":"WCIFS"}'],
    ),
    (
        "HcsDetachOverlayFilter",
        "failed to detach overlay filter",
        lambda one: one.detach_overlay_filter("V:"),
        ["V:", '{"SchemaVersion":{},"FilterType":"UnionFS"}'],
    ),
    (
        "HcsFormatWritableLayerVhd",
        "failed to format writable layer vhd",
        lambda one: one.format_writable_layer_vhd(78),
        [78],
    ),
]


def read(argument: Any) -> str | int:
    # Handles in these tests are small numbers; addresses of strings never are.
    return argument.value if argument.value < 4096 else text(argument) or ""


@pytest.mark.parametrize(("export", "title", "do", "expected"), CALLS, ids=[f"{e}-{len(x)}" for e, _, _, x in CALLS])
def test_52_the_arguments_of_a_call(
    export: str, title: str, do: Callable[[ComputeStorage], object], expected: list[str | int]
) -> None:
    calls: list[list[str | int]] = []
    result = 0

    def function(*arguments: Any) -> int:
        calls.append([read(argument) for argument in arguments])
        return result

    storage = ComputeStorage(library(**{export: function}), lambda _address: None)
    do(storage)
    assert calls == [expected]
    result = -2147024893
    with pytest.raises(HcsError) as caught:
        do(storage)
    assert caught.value.title == title
    assert caught.value.message == f"{title}: The system cannot find the path specified."
    assert caught.value.code == 3


def test_52_destroy_layer_is_spelt_right() -> None:
    seen: list[str | None] = []

    def function(path: Any) -> int:
        seen.append(text(path))
        return 0

    ComputeStorage(library(HcsDestroyLayer=function), lambda _address: None).destroy_layer(LAYER)
    assert seen == [LAYER]


def test_53_an_old_build_has_no_setup_of_volumes() -> None:
    storage = ComputeStorage(library(), lambda _address: None)
    with pytest.raises(UnsupportedError, match="SetupBaseOSVolume is not present on builds older than 19645"):
        storage.setup_base_os_volume(LAYER, "V:", OsLayerOptions())


def test_52_the_volume_of_a_disk_is_freed_after_reading() -> None:
    released: list[int] = []
    held = WideString("\\\\?\\Volume{1}")

    def function(handle: Any, out: Any) -> int:
        assert handle.value == 79
        out._obj.value = held.address
        return 0

    storage = ComputeStorage(library(HcsGetLayerVhdMountPath=function), released.append)
    assert storage.get_layer_vhd_mount_path(79) == "\\\\?\\Volume{1}"
    assert released == [held.address]


def test_a_disk_without_a_volume() -> None:
    storage = ComputeStorage(library(HcsGetLayerVhdMountPath=lambda *_all: 0), lambda _address: None)
    assert storage.get_layer_vhd_mount_path(79) == ""
    storage = ComputeStorage(library(HcsGetLayerVhdMountPath=lambda *_all: -2147024891), lambda _address: None)
    with pytest.raises(HcsError, match="failed to get vhd mount path"):
        storage.get_layer_vhd_mount_path(79)


def test_52_a_nul_handle_is_passed_as_null() -> None:
    seen: list[Any] = []

    def function(_path: Any, handle: ctypes.c_void_p, _options: Any) -> int:
        seen.append(handle.value)
        return 0

    ComputeStorage(library(HcsSetupBaseOSLayer=function), lambda _address: None).setup_base_os_layer(
        LAYER, 0, OsLayerOptions("Container")
    )
    assert seen == [None]


def test_52_the_calls_above_are_all_that_there_are() -> None:
    exports = {export for export, *_ in CALLS} | {"HcsGetLayerVhdMountPath"}
    methods = {name for name, value in vars(ComputeStorage).items() if callable(value) and not name.startswith("_")}
    assert {_method_of(export) for export in exports} == methods
    assert len(exports) == 14


def _method_of(export: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", export.removeprefix("Hcs")).lower()
    return words.replace("base_oslayer", "base_os_layer").replace("base_osvolume", "base_os_volume")
