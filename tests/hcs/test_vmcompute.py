"""Every function of vmcompute.dll gets the arguments that hcsshim passes, with pointers that are alive."""

from __future__ import annotations

import ctypes
import gc
import inspect
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from tests.hcs.fake_library import driver_info, library, parents, text
from wclayer.errors import UnsupportedError, UsageError
from wclayer.hcs.failures import HcsError
from wclayer.hcs.identity import layer_id
from wclayer.hcs.native import Library, WideString, wide_at
from wclayer.hcs.vmcompute import DriverInfo, LayerDescriptor, VmCompute

LAYER, FOLDER = "C:\\layers\\5", "C:\\temp\\hcs1"
PARENTS = ["C:\\layers\\4", "C:\\layers\\base"]
EXPECTED_PARENTS = [(layer_id(path).bytes_le, 0, path) for path in PARENTS]
INFO = (1, "")


def freed(_address: int) -> None:
    pytest.fail("nothing was allocated")


def service(calls: list[Any], export: str, read: Callable[..., Any], result: int = 0) -> VmCompute:
    def function(*arguments: Any) -> int:
        gc.collect()  # what the call does not keep alive is gone now
        calls.append(read(*arguments))
        return result

    return VmCompute(library(**{export: function}), freed)


SIMPLE: list[tuple[str, Callable[[VmCompute], object]]] = [
    ("ActivateLayer", lambda one: one.activate_layer(LAYER)),
    ("DeactivateLayer", lambda one: one.deactivate_layer(LAYER)),
    ("UnprepareLayer", lambda one: one.unprepare_layer(LAYER)),
    ("DestroyLayer", lambda one: one.destroy_layer(LAYER)),
]


@pytest.mark.parametrize(("export", "do"), SIMPLE, ids=[export for export, _ in SIMPLE])
def test_52_a_function_of_one_layer(export: str, do: Callable[[VmCompute], object]) -> None:
    calls: list[Any] = []
    do(service(calls, export, lambda info, name: (driver_info(info), text(name))))
    assert calls == [(INFO, LAYER)]


@pytest.mark.parametrize("given", [PARENTS, []], ids=["parents", "none"])
def test_52_prepare_layer(given: list[str]) -> None:
    calls: list[Any] = []
    one = service(calls, "PrepareLayer", lambda info, name, *rest: (driver_info(info), text(name), parents(*rest)))
    one.prepare_layer(LAYER, given)
    assert calls == [(INFO, LAYER, EXPECTED_PARENTS if given else None)]


@pytest.mark.parametrize("given", [PARENTS, []], ids=["parents", "none"])
@pytest.mark.parametrize("export", ["ImportLayer", "ExportLayer"])
def test_52_import_and_export_layer(export: str, given: list[str]) -> None:
    calls: list[Any] = []

    def read(info: Any, name: Any, folder: Any, *rest: Any) -> Any:
        return driver_info(info), text(name), text(folder), parents(*rest)

    one = service(calls, export, read)
    (one.import_layer if export == "ImportLayer" else one.export_layer)(LAYER, FOLDER, given)
    assert calls == [(INFO, LAYER, FOLDER, EXPECTED_PARENTS if given else None)]


def test_52_create_scratch_layer_passes_no_parent_but_descriptors() -> None:
    calls: list[Any] = []

    def read(info: Any, name: Any, parent: Any, *rest: Any) -> Any:
        return driver_info(info), text(name), text(parent), parents(*rest)

    service(calls, "CreateSandboxLayer", read).create_scratch_layer(LAYER, PARENTS)
    assert calls == [(INFO, LAYER, None, EXPECTED_PARENTS)]


def test_52_create_layer() -> None:
    calls: list[Any] = []
    one = service(calls, "CreateLayer", lambda info, *texts: (driver_info(info), [text(each) for each in texts]))
    one.create_layer(LAYER, "base")
    assert calls == [(INFO, [LAYER, "base"])]


def test_52_expand_scratch_size() -> None:
    calls: list[Any] = []

    def read(info: Any, name: Any, size: Any) -> Any:
        assert isinstance(size, ctypes.c_uint64)
        return driver_info(info), text(name), size.value

    service(calls, "ExpandSandboxSize", read).expand_scratch_size(LAYER, 1 << 40)
    assert calls == [(INFO, LAYER, 1 << 40)]


@pytest.mark.parametrize("there", [0, 1])
def test_52_layer_exists(there: int) -> None:
    calls: list[Any] = []

    def read(info: Any, name: Any, out: Any) -> Any:
        out._obj.value = there
        return driver_info(info), text(name)

    assert service(calls, "LayerExists", read).layer_exists(LAYER) is bool(there)
    assert calls == [(INFO, LAYER)]


def test_54_the_mount_path_takes_two_calls() -> None:
    calls: list[Any] = []
    volume = "\\\\?\\Volume{0}\\"

    def function(info: Any, name: Any, length: Any, buffer: Any) -> int:
        calls.append((driver_info(info), text(name), length._obj.value, buffer.value is None))
        if buffer.value is None:
            length._obj.value = len(volume) + 1
        else:
            data = volume.encode("utf-16-le") + b"\0\0"
            ctypes.memmove(buffer.value, data, len(data))
        return 0

    assert VmCompute(library(GetLayerMountPath=function), freed).get_layer_mount_path(LAYER) == volume
    assert calls == [(INFO, LAYER, 0, True), (INFO, LAYER, len(volume) + 1, False)]


def test_54_a_mount_path_of_length_0_takes_one_call() -> None:
    calls: list[Any] = []
    one = service(calls, "GetLayerMountPath", lambda *_arguments: None)
    assert one.get_layer_mount_path(LAYER) == ""
    assert len(calls) == 1


@pytest.mark.parametrize(("failing", "rest"), [(0, "(first call)"), (1, "(second call)")])
def test_54_a_failing_mount_path_says_which_call(failing: int, rest: str) -> None:
    count = 0

    def function(_info: Any, _name: Any, length: Any, _buffer: Any) -> int:
        nonlocal count
        count += 1
        length._obj.value = 5
        return -2147024893 if count == failing + 1 else 0

    with pytest.raises(HcsError, match=r"\(0x3\) \(" + rest[1:-1]) as caught:
        VmCompute(library(GetLayerMountPath=function), freed).get_layer_mount_path(LAYER)
    assert caught.value.rest == rest


def test_a_mount_path_of_absurd_length_is_refused() -> None:
    def function(_info: Any, _name: Any, length: Any, _buffer: Any) -> int:
        length._obj.value = 1 << 40
        return 0

    with pytest.raises(HcsError, match="0xce"):
        VmCompute(library(GetLayerMountPath=function), freed).get_layer_mount_path(LAYER)


@pytest.mark.parametrize(
    ("export", "title"),
    [("ProcessBaseImage", "hcsshim::ProcessBaseLayer"), ("ProcessUtilityImage", "hcsshim::ProcessUtilityVMImage")],
)
def test_52_processing_takes_the_path_alone(export: str, title: str) -> None:
    calls: list[Any] = []
    one = service(calls, export, lambda path: text(path), -2147024891)
    do = one.process_base_image if export == "ProcessBaseImage" else one.process_utility_image
    with pytest.raises(HcsError) as caught:
        do(LAYER)
    assert calls == [LAYER]
    assert caught.value.message == f"{title} {LAYER}: Access is denied."
    assert caught.value.code == 5


def test_52_grant_vm_access() -> None:
    calls: list[Any] = []
    service(calls, "GrantVmAccess", lambda *texts: [text(one) for one in texts]).grant_vm_access("id", "C:\\x.vhdx")
    assert calls == [["id", "C:\\x.vhdx"]]


def test_52_name_to_guid_reads_a_windows_guid() -> None:
    def function(name: Any, guid: Any) -> int:
        assert text(name) == "4"
        guid._obj[:] = UUID("bd9c3ef9-f239-59b5-a27e-15c523b1d149").bytes_le
        return 0

    assert str(VmCompute(library(NameToGuid=function), freed).name_to_guid("4")) == (
        "bd9c3ef9-f239-59b5-a27e-15c523b1d149"
    )


@pytest.mark.parametrize("returned", ["", '{"Images":[]}'])
def test_52_what_windows_allocated_is_freed(returned: str) -> None:
    released: list[int] = []
    held = WideString(returned)

    def function(out: Any) -> int:
        out._obj.value = held.address
        return 0

    assert VmCompute(library(GetBaseImages=function), released.append).get_base_images() == returned
    assert released == [held.address]


def test_53_the_error_of_base_images_has_the_name_that_hcsshim_gives_the_function() -> None:
    with pytest.raises(HcsError) as caught:
        VmCompute(library(GetBaseImages=lambda _out: -2147024891), freed).get_base_images()
    assert caught.value.message == "hcsshim::GetSharedBaseImages failed in Win32: Access is denied. (0x5)"


def test_a_null_instead_of_a_string_is_an_empty_one() -> None:
    assert VmCompute(library(GetBaseImages=lambda _out: 0), freed).get_base_images() == ""


def test_the_error_names_the_layer_and_the_function() -> None:
    calls: list[Any] = []
    one = service(calls, "ImportLayer", lambda *_arguments: None, -2147024893)
    with pytest.raises(HcsError) as caught:
        one.import_layer(LAYER, FOLDER, PARENTS)
    assert caught.value.layer == LAYER
    assert caught.value.message.startswith("hcsshim::ImportLayer failed in Win32: ")


def test_53_a_nul_in_a_string_never_reaches_windows() -> None:
    calls: list[Any] = []
    with pytest.raises(UsageError, match="NUL"):
        service(calls, "ActivateLayer", lambda *_arguments: None).activate_layer("C:\\a\0b")
    assert calls == []


def test_53_a_missing_export_is_told_by_its_name() -> None:
    with pytest.raises(UnsupportedError, match="ImportLayer"):
        VmCompute(library(), freed).import_layer(LAYER, FOLDER, [])


def test_52_structures_are_as_large_as_on_windows() -> None:
    pointer = ctypes.sizeof(ctypes.c_void_p)
    assert ctypes.sizeof(DriverInfo) == 2 * pointer
    assert ctypes.sizeof(LayerDescriptor) == (32 if pointer == 8 else 24)
    assert LayerDescriptor.path.offset == (24 if pointer == 8 else 20)


def test_a_wide_string_is_utf_16_everywhere() -> None:
    held = WideString("a\U0001f600\ud800")
    assert ctypes.string_at(held.address, 10).hex() == "6100" + "3dd800de" + "00d8" + "0000"
    assert wide_at(held.address) == held.text


def test_52_every_function_is_called_under_its_own_name() -> None:
    seen: list[str] = []

    class Everything:
        def __getattr__(self, name: str) -> Callable[..., int]:
            def function(*_arguments: Any) -> int:
                seen.append(name)
                return 0

            return function

    one = VmCompute(Library("fake.dll", Everything()), freed)
    for method in sorted(name for name, value in vars(VmCompute).items() if callable(value) and name[0] != "_"):
        arguments: dict[str, Any] = {"size": 1, "parents": PARENTS}
        names = list(inspect.signature(getattr(one, method)).parameters)
        getattr(one, method)(*(arguments.get(name, LAYER) for name in names))
    assert sorted(seen) == [
        "ActivateLayer", "CreateLayer", "CreateSandboxLayer", "DeactivateLayer", "DestroyLayer", "ExpandSandboxSize",
        "ExportLayer", "GetBaseImages", "GetLayerMountPath", "GrantVmAccess", "ImportLayer", "LayerExists",
        "NameToGuid", "PrepareLayer", "ProcessBaseImage", "ProcessUtilityImage", "UnprepareLayer",
    ]  # fmt: skip
