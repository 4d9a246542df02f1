"""Layer identities: the GUIDs that daemons have logged in public, and the descriptor that carries them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import PureWindowsPath
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.hcs import WindowsService
from wclayer.hcs.identity import descriptor_bytes, layer_id, layer_name, name_to_guid, new_guid, shared_ids

# Names and GUIDs as issue threads and logs of docker, containerd and hcsshim show them side by side.
OBSERVED = """
4 bd9c3ef9-f239-59b5-a27e-15c523b1d149
ecca0170f401bd3132a4b0fa72abea915e0f6ef94003dff5c00e6d3f93fc149b 010df3e1-7918-5616-b7ed-f330ad22e0d8
7be5fa817a7ea239fa1b0e1a18f4587794dc8a043761eb25b7659026a9bdf0f1 44ee543c-e9f7-5ac3-a463-d6dc23dde7ce
4e3c0eecb91d8fc28eda07ff06c6910a592b0ce4539476fb943b48e6934e9976 cd22d128-903e-550a-9d8f-aa8134ca1c9b
64de1cf73636068d9f372934aa5bb523d70b9cb3cd5f1cdd86e7fccb6c81001f 7844096c-0c6d-5255-b04d-9788821aa5ab
2b31f86e7aea1cee80d77af24b362171cb06985b155bf2ff103f0a2cbfd941f6 87ec27a6-f5e9-50c8-9ae1-161c316c0eca
fec9f4c73d5fe093161c5993fb6c43434a6e4b69b38a2dd501065143e58d2d1c fff03c3b-5d10-545c-99ca-0f2e8984d2d3
e2a46135ff011a2ef9f193590ccddde95806850a0cdd7638b913e003c28e7fd0 8f9dd02a-0f67-598e-921b-59884f08b5af
3030b7a20c848d1553700c1ccf0369b0f5d9b3d9a4c37ea6652fd54809a60a07 4d2dfb6d-2f3b-5926-adf1-4bd7e162b91f
2a4a12b082184aec3c238334a57cae90eb5ae33d25dab0cc5a8c65c67293782d f1f65ef4-dda7-5263-88b0-8c816567a93a
0fa9a2d9927328478be6849974595736057acb79803e1ec777bd33d160c5309d 41fb1db8-7a06-52f4-ba9c-11921282b350
17aedbfdbe07e3896f3d2b614f2e0fc185949fc62cecdf573e78fecaed859227 7a15b0ad-8fdf-5ab1-aeee-06dbe5299ddb
2182f33c95a826e599846ac8963310870a225a52b733d3ea7ab2caa0148287e6 d170642d-fe0d-5fca-b04e-a3b1139b984f
82f6b18dfe22ce24ac65ec5023f3c1044b2b7b1f6170d99c73d0122f330dafb9 1b43484f-df68-5ff9-a25a-4a1c97a2b105
5bda1565205b9c2be87fbf72b2b190eac281b618d1638584c76d0f38e66f88d5 752b605a-852f-5ed0-8dc4-600a46637308
eccec51eb07946a1d1fd325d98bb7851e62f2c78ef6183ea7e010d00c2c8b743 f9b110e2-f845-540e-b382-b926c4c901fd
a35c063592d63f30c6a7dc361d6b24991123e180c07c3d8f646809a2fae2ba05 7c936f90-3131-5f18-ad64-69ffca88a11c
"""
PAIRS = [tuple(line.split()) for line in OBSERVED.strip().splitlines()]


def test_01_there_are_seventeen_observed_pairs() -> None:
    assert len(PAIRS) == 17


@pytest.mark.parametrize(("name", "guid"), PAIRS)
def test_01_names_have_the_guids_that_windows_gave_them(name: str, guid: str) -> None:
    assert name_to_guid(name) == UUID(guid)
    assert layer_id(rf"C:\ProgramData\docker\windowsfilter\{name}") == UUID(guid)


def test_01_the_empty_name_has_a_guid_too() -> None:
    assert str(name_to_guid("")) == "62a9753f-ed70-52d8-ba49-d04390fe316f"


@pytest.mark.parametrize("name", [name for name, _ in PAIRS if name != "4"])
def test_01_case_and_terminator_count(name: str) -> None:
    assert len({name_to_guid(text) for text in (name, name.upper(), name + "\0", f" {name}")}) == 4


@pytest.mark.parametrize("name", [name for name, _ in PAIRS])
def test_01_the_name_is_hashed_as_utf_16_and_not_as_uuid5_does(name: str) -> None:
    namespace = UUID("800872c5-909c-403a-89c9-931fe5e2fd08")
    digest = hashlib.sha1(namespace.bytes + name.encode("utf-16-le")).digest()
    assert UUID(bytes=digest[:16], version=5) == name_to_guid(name) != uuid5(namespace, name)


@given(st.text())
def test_every_name_gets_a_version_5_guid(name: str) -> None:
    guid = name_to_guid(name)
    assert guid.version == 5
    assert guid == name_to_guid(name)


def test_a_lone_surrogate_is_a_name_like_any_other() -> None:
    assert name_to_guid("\ud800").version == 5


@pytest.mark.parametrize(
    ("path", "strict", "as_hcsshim"),
    [
        ("C:\\layers\\4", "4", "4"),
        ("4", "4", "4"),
        ("C:/layers/4", "4", "4"),
        ("/var/lib/layers/4", "4", "4"),
        ("C:\\layers\\4\\", "4", ""),
        ("/layers/4//", "4", ""),
        ("C:\\", "", ""),
        ("C:4", "4", "4"),
        ("C:", "", ""),
        ("\\\\server\\share\\4", "4", "4"),
        ("\\\\server\\share", "", ""),
        ("", "", ""),
    ],
)
def test_02_the_last_element_is_the_name(path: str, strict: str, as_hcsshim: str) -> None:
    assert layer_name(path) == strict
    assert layer_name(path, trailing="keep") == as_hcsshim
    assert layer_id(path) == name_to_guid(strict)
    assert layer_id(path, trailing="keep") == name_to_guid(as_hcsshim)


def test_a_path_object_will_do() -> None:
    assert layer_id(PureWindowsPath("C:/layers/4")) == name_to_guid("4")


def test_layers_of_one_name_in_two_places_share_a_guid() -> None:
    shared = shared_ids(["/a/1", "/b/1", "/b/2"])
    assert shared == {name_to_guid("1"): ["/a/1", "/b/1"]}


def test_03_new_guid_is_another_function() -> None:
    assert str(new_guid("foo")) == "b5c7ee0b-3fea-db0f-c95d-0dd47f3c5bc2"
    assert new_guid("foo") != name_to_guid("foo")


def test_03_a_descriptor_of_64_bits() -> None:
    data = descriptor_bytes(layer_id("C:\\layers\\4"), 0x1122334455667788)
    assert data.hex() == "f93e9cbd39f2b559a27e15c523b1d149" + "00000000" + "00000000" + "8877665544332211"


def test_03_a_descriptor_of_32_bits_has_no_gap() -> None:
    data = descriptor_bytes(name_to_guid("4"), 0x11223344, flags=1 << 31, bits=32)
    assert data.hex() == "f93e9cbd39f2b559a27e15c523b1d149" + "00000080" + "44332211"


UNSEEN = (
    "", "4", "ABCDEF", "AbCdEf", "abcdef", "Layer", "layer", "LAYER", "Größe", "GRÖSSE", "größe", "straße", "İ", "ı",
    "日本", "ＡＢＣ", "\u00e9", "e\u0301", "\U0001f600", "\U00010400", "a b", " a", "a.", "x" * 300,
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "win32", reason="asks the vmcompute.dll of Windows, which no other system has")
def test_56_windows_gives_every_name_the_guid_that_is_computed_here() -> None:
    """Of the names seen in public none has capitals or letters beyond ASCII; whether Windows folds those it says."""
    service = WindowsService()
    assert {name: service.name_to_guid(name) for name in UNSEEN} == {name: name_to_guid(name) for name in UNSEEN}
