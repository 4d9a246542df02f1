"""Growing the volume of a writable layer: how much, and in which order of calls."""

from __future__ import annotations

from typing import Any

import pytest

from tests.hcs.fake_library import library, text
from wclayer.hcs.failures import HcsError
from wclayer.hcs.volume import VolumeCalls, expand_volume, extension_sectors

GIB = 1 << 30


@pytest.mark.parametrize(
    ("length", "total", "sectors"),
    [
        (20 * GIB, 20 * GIB, None),
        (20 * GIB + 4096, 20 * GIB, None),
        (20 * GIB + 8192, 20 * GIB, (20 * GIB + 8192) // 512),
        (127 * GIB, 20 * GIB, 127 * GIB // 512),
        (8191, 0, None),
        (3 * 4096 + 511, 4096, 24),
        (10 * GIB, 20 * GIB, None),
    ],
)
def test_54_a_volume_grows_to_whole_clusters_when_more_than_one_is_free(
    length: int, total: int, sectors: int | None
) -> None:
    assert extension_sectors(length, total) == sectors


class Machine:
    """The calls in their order; ``fails`` names the one that fails."""

    def __init__(self, length: int, total: int, fails: str = "") -> None:
        self.length, self.total, self.fails = length, total, fails
        self.log: list[Any] = []

    def calls(self) -> VolumeCalls:
        return VolumeCalls(
            library(OpenVirtualDisk=self.open_disk, AttachVirtualDisk=self.attach),
            library(
                CreateFileW=self.create,
                CloseHandle=self.close,
                DeviceIoControl=self.control,
                GetDiskFreeSpaceExW=self.space,
            ),
            lambda: 5,
        )

    def open_disk(self, kind: Any, path: Any, access: Any, flags: Any, parameters: Any, handle: Any) -> int:
        assert (kind._obj.device, access.value, flags.value, parameters._obj.version) == (0, 0, 0, 2)
        self.log.append(("open disk", text(path)))
        handle._obj.value = 1
        return 5 if self.fails == "open disk" else 0

    def attach(self, handle: Any, security: Any, flags: Any, provider: Any, parameters: Any, overlapped: Any) -> int:
        assert (security.value, provider.value, parameters.value, overlapped.value) == (None, 0, None, None)
        self.log.append(("attach", handle.value, flags.value))
        return 5 if self.fails == "attach" else 0

    def create(self, path: Any, access: Any, *_rest: Any) -> int:
        self.log.append(("open volume", text(path), access.value))
        return -1 if self.fails == "open volume" else 2

    def close(self, handle: Any) -> int:
        self.log.append(("close", handle.value))
        return 1

    def control(self, handle: Any, code: Any, data: Any, size: Any, out: Any, out_size: Any, *_rest: Any) -> int:
        assert handle.value == 2
        if code.value == 0x7405C:
            self.log.append("length")
            assert out_size.value == 8
            out._obj.value = self.length
            return int(self.fails != "length")
        assert (code.value, size.value) == (0x900F0, 8)
        self.log.append(("extend", data._obj.value))
        return int(self.fails != "extend")

    def space(self, path: Any, _free: Any, total: Any, _all_free: Any) -> int:
        self.log.append(("space", text(path)))
        total._obj.value = self.total
        return int(self.fails != "space")


DISK, VOLUME = "C:\\layers\\5\\sandbox.vhdx", "\\\\?\\Volume{0}"


def test_54_the_disk_is_attached_measured_extended_and_detached() -> None:
    machine = Machine(40 * GIB, 20 * GIB)
    assert expand_volume(DISK, lambda: VOLUME + "\\", machine.calls())
    assert machine.log == [
        ("open disk", DISK),
        ("attach", 1, 0x20),
        ("space", VOLUME + "\\"),
        ("open volume", VOLUME, 0xC0000000),
        "length",
        ("extend", 40 * GIB // 512),
        ("close", 2),
        ("close", 1),
    ]


def test_54_a_volume_that_fills_its_partition_is_left_alone() -> None:
    machine = Machine(20 * GIB, 20 * GIB)
    assert not expand_volume(DISK, lambda: VOLUME, machine.calls())
    assert ("extend", 20 * GIB // 512) not in machine.log


@pytest.mark.parametrize("fails", ["open disk", "attach", "space", "open volume", "length", "extend"])
def test_every_failure_closes_what_is_open(fails: str) -> None:
    machine = Machine(40 * GIB, 20 * GIB, fails)
    with pytest.raises(HcsError, match="0x5"):
        expand_volume(DISK, lambda: VOLUME, machine.calls())
    opened = [1] * (fails != "open disk") + [2] * (fails in ("length", "extend"))
    assert sorted(entry[1] for entry in machine.log if entry[0] == "close") == opened


def test_54_a_disk_without_a_volume_is_an_error_and_no_crash() -> None:
    machine = Machine(40 * GIB, 20 * GIB)
    with pytest.raises(HcsError, match="has no volume"):
        expand_volume(DISK, lambda: "", machine.calls())
    assert machine.log[-1] == ("close", 1)
