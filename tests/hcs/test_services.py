"""Both answers to the interface: the table of functions, what Windows is asked, and what is refused off Windows."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wclayer.hcs
from tests.hcs.fake_library import library, parents, text
from tests.hcs.test_privileges import Tokens
from tests.hcs.test_volume import Machine
from wclayer.errors import StoreError, UsageError
from wclayer.hcs import FUNCTIONS, HostComputeService, NotOffWindowsError, PortableService, WindowsService
from wclayer.hcs.computestorage import ComputeStorage
from wclayer.hcs.identity import name_to_guid
from wclayer.hcs.privileges import TokenCalls
from wclayer.hcs.vmcompute import VmCompute
from wclayer.hcs.volume import VolumeCalls


def test_the_table_has_every_method_and_nothing_else() -> None:
    methods = {name for name in vars(HostComputeService) if not name.startswith("_")}
    assert {function.method for function in FUNCTIONS} == methods
    for function in FUNCTIONS:
        for service in (PortableService, WindowsService):
            assert callable(getattr(service, function.method))


def test_off_windows_the_service_is_the_portable_one() -> None:
    assert isinstance(wclayer.hcs.host_compute_service(), PortableService)


@pytest.mark.skipif(sys.platform == "win32", reason="there it works")
@pytest.mark.parametrize("make", [VmCompute, ComputeStorage, VolumeCalls.of_windows, TokenCalls.of_windows])
def test_off_windows_the_libraries_say_so(make: Callable[[], object]) -> None:
    with pytest.raises(NotOffWindowsError, match="which only Windows has"):
        make()


P = Path("/layers/5")
REFUSED: list[tuple[str, Callable[[PortableService], object]]] = [
    ("ActivateLayer", lambda one: one.activate_layer(P)),
    ("PrepareLayer", lambda one: one.prepare_layer(P, [P])),
    ("GetLayerMountPath", lambda one: one.get_layer_mount_path(P)),
    ("UnprepareLayer", lambda one: one.unprepare_layer(P)),
    ("DeactivateLayer", lambda one: one.deactivate_layer(P)),
    ("GrantVmAccess", lambda one: one.grant_vm_access("id", P)),
]


@pytest.mark.parametrize(("api", "do"), REFUSED, ids=[api for api, _ in REFUSED])
def test_what_only_windows_can_do_names_the_function_that_does_it(
    api: str, do: Callable[[PortableService], object]
) -> None:
    with pytest.raises(NotOffWindowsError, match=api) as caught:
        do(PortableService())
    assert (caught.value.api, caught.value.library, caught.value.exit_code) == (api, "vmcompute.dll", 7)


def test_the_table_says_which_are_refused() -> None:
    refused = {function.export for function in FUNCTIONS if function.portable == "NotOffWindowsError"}
    assert refused == {api for api, _ in REFUSED}


def test_no_other_system_keeps_base_images() -> None:
    assert PortableService().get_shared_base_images() == '{"Images":[]}'


class Recorder:
    """A vmcompute.dll that notes which function was called for which layer."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name.startswith("_"):
            raise AttributeError(name)

        def function(*arguments: Any) -> int:
            self.calls.append((name, arguments))
            return 0

        return function


def windows() -> tuple[WindowsService, Recorder, Tokens]:
    recorder, tokens = Recorder(), Tokens()
    library_of = library()
    library_of._functions = recorder
    return WindowsService(VmCompute(library_of, lambda _address: None), tokens=tokens.calls()), recorder, tokens


ASKED: list[tuple[str, Callable[[WindowsService], object], int]] = [
    ("ActivateLayer", lambda one: one.activate_layer(P), 1),
    ("DeactivateLayer", lambda one: one.deactivate_layer(P), 0),
    ("UnprepareLayer", lambda one: one.unprepare_layer(P), 0),
    ("PrepareLayer", lambda one: one.prepare_layer(P, [P]), 0),
    ("GetLayerMountPath", lambda one: one.get_layer_mount_path(P), 0),
    ("LayerExists", lambda one: one.layer_exists(P), 0),
    ("CreateLayer", lambda one: one.create_layer(P), 0),
    ("CreateSandboxLayer", lambda one: one.create_scratch_layer(P, [P]), 1),
    ("ImportLayer", lambda one: one.import_layer(P, P, [P]), 3),
    ("ProcessBaseImage", lambda one: one.process_base_layer(P), 3),
    ("ProcessUtilityImage", lambda one: one.process_utility_vm_image(P), 3),
    ("DestroyLayer", lambda one: one.destroy_layer(P), 3),
    ("GrantVmAccess", lambda one: one.grant_vm_access("id", P), 0),
    ("GetBaseImages", lambda one: one.get_shared_base_images(), 0),
    ("NameToGuid", lambda one: one.name_to_guid("4"), 0),
]


@pytest.mark.parametrize(("export", "do", "count"), ASKED, ids=[export for export, _, _ in ASKED])
def test_windows_is_asked_with_the_privileges_it_wants(
    export: str, do: Callable[[WindowsService], object], count: int
) -> None:
    service, recorder, tokens = windows()
    do(service)
    assert [name for name, _ in recorder.calls] == [export]
    assert len(tokens.names) == count


def test_windows_gets_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    def function(_info: Any, layer: Any, folder: Any, *rest: Any) -> int:
        seen.extend((text(layer), text(folder), [path for _, _, path in parents(*rest) or ()]))
        return 0

    service = WindowsService(VmCompute(library(ImportLayer=function), lambda _address: None), tokens=Tokens().calls())
    service.import_layer(Path("5"), Path("t"), [Path("4")])
    assert seen == [str(tmp_path / "5"), str(tmp_path / "t"), [str(tmp_path / "4")]]


def test_windows_exports_to_an_empty_folder_only(tmp_path: Path) -> None:
    service, recorder, _ = windows()
    with pytest.raises(StoreError, match="no empty folder"):
        service.export_layer(P, tmp_path / "nowhere", [])
    service.export_layer(P, tmp_path, [])
    assert [name for name, _ in recorder.calls] == ["ExportLayer"]
    (tmp_path / "x").touch()
    with pytest.raises(StoreError, match="no empty folder"):
        service.export_layer(P, tmp_path, [])


def test_a_destroyed_layer_that_is_still_there_is_an_error(tmp_path: Path) -> None:
    service, _, _ = windows()
    with pytest.raises(StoreError, match="reported success"):
        service.destroy_layer(tmp_path)


@pytest.mark.parametrize("make", [PortableService, lambda: windows()[0]])
def test_55_a_writable_layer_needs_parents(make: Callable[[], HostComputeService]) -> None:
    with pytest.raises(UsageError, match="at least one read-only layer must be specified"):
        make().create_scratch_layer(P, [])


def test_names_have_the_same_guid_in_both(tmp_path: Path) -> None:
    service = PortableService()
    assert service.name_to_guid("4") == name_to_guid("4")
    assert service.layer_id(tmp_path / "4") == name_to_guid("4")


def test_a_disk_grows_with_the_volume_on_it(tmp_path: Path) -> None:
    machine = Machine(40 << 30, 20 << 30)
    calls: list[Any] = []

    def expand(_info: Any, path: Any, size: Any) -> int:
        calls.append((text(path), size.value))
        return 0

    def mount(_info: Any, _path: Any, length: Any, buffer: Any) -> int:
        volume = "\\\\?\\Volume{0}\\\0".encode("utf-16-le")
        length._obj.value = len(volume) // 2
        if buffer.value is not None:
            ctypes.memmove(buffer.value, volume, len(volume))
        return 0

    vmcompute = VmCompute(library(ExpandSandboxSize=expand, GetLayerMountPath=mount), lambda _address: None)
    WindowsService(vmcompute, machine.calls(), Tokens().calls()).expand_scratch_size(tmp_path, 40 << 30)
    assert calls == [(str(tmp_path), 40 << 30)]
    assert machine.log[0] == ("open disk", f"{tmp_path}\\sandbox.vhdx")
    assert ("extend", (40 << 30) // 512) in machine.log
