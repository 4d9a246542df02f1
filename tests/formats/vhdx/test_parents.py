"""Which parent a differencing disk gets, and which files of this machine it cannot make anybody open."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from wclayer.errors import FormatError, LimitError, NotFoundError, UnsafeEntryError, UnsupportedError, UsageError
from wclayer.formats.vhdx import VhdxDisk, create_vhdx, new_vhdx
from wclayer.formats.vhdx.disk import DEEPEST_CHAIN
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.headers import read_header, write_header
from wclayer.formats.vhdx.locator import ParentLocator
from wclayer.formats.vhdx.metadata import pack_metadata

MIB = 1 << 20
METADATA = 2 * MIB


def base(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_vhdx(path, 2 * MIB) as disk:
        disk.write(0, b"base")
    return path


def child(path: Path, parent: Path, **entries: str) -> Path:
    """A child that names its parent by these paths alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    create_vhdx(path, parent=parent)
    if entries:
        with VhdxDisk.open(path, "none") as disk:
            locator = disk.parameters.locator
            assert locator is not None
            parameters = disk.parameters
        kept = {"parent_linkage": f"{{{locator.linkage}}}"}
        changed = ParentLocator(locator.linkage, {**kept, **entries})
        item = pack_metadata(
            type(parameters)(parameters.size, parameters.block_size, parameters.disk_id, locator=changed)
        )
        with path.open("r+b") as file:
            file.seek(METADATA)
            file.write(item)
    return path


def opens(path: Path, *within: Path) -> Path:
    """The parent that is found."""
    with VhdxDisk.open(path, within=within) as disk:
        assert disk.read(0, 4) == b"base"
        assert disk.parent is not None
        return disk.parent.path


def test_a_parent_in_the_same_folder_or_below_is_found(tmp_path: Path) -> None:
    beside, below = base(tmp_path / "base.vhdx"), base(tmp_path / "x/y/base.vhdx")
    assert opens(child(tmp_path / "a.vhdx", beside)) == beside
    assert opens(child(tmp_path / "b.vhdx", below)) == below


def test_a_parent_elsewhere_is_only_opened_where_somebody_says_so(tmp_path: Path) -> None:
    parent = base(tmp_path / "parents/base.vhdx")
    path = child(tmp_path / "children/child.vhdx", parent)
    with pytest.raises(UnsafeEntryError, match="outside its folder") as caught:
        VhdxDisk.open(path)
    assert caught.value.hint is not None
    assert caught.value.image == str(path)
    assert opens(path, tmp_path).resolve() == parent
    assert opens(path, tmp_path / "parents").resolve() == parent
    with VhdxDisk.open(path, "anywhere") as disk:
        assert disk.read(0, 4) == b"base"
    with VhdxDisk.open(path, [parent]) as disk:
        assert disk.read(0, 4) == b"base"


def test_whether_a_file_elsewhere_exists_is_not_told(tmp_path: Path) -> None:
    parent = base(tmp_path / "parents/base.vhdx")
    path = child(tmp_path / "children/child.vhdx", parent)
    with pytest.raises(UnsafeEntryError) as there:
        VhdxDisk.open(path)
    parent.unlink()
    with pytest.raises(UnsafeEntryError) as gone:
        VhdxDisk.open(path)
    assert str(there.value) == str(gone.value)


def test_a_link_does_not_lead_elsewhere(tmp_path: Path) -> None:
    parent = base(tmp_path / "parents/base.vhdx")
    path = child(tmp_path / "children/child.vhdx", parent, relative_path=".\\link.vhdx")
    (tmp_path / "children/link.vhdx").symlink_to(parent)
    with pytest.raises(UnsafeEntryError):
        VhdxDisk.open(path)
    assert opens(path, tmp_path) == tmp_path / "children/link.vhdx"


@pytest.mark.parametrize(
    "named",
    [
        {"relative_path": "..\\..\\base\\blank-base.vhdx"},
        {"absolute_win32_path": "\\\\?\\C:\\ProgramData\\Docker\\windowsfilter\\base\\blank-base.vhdx"},
        {"absolute_win32_path": "C:\\layers\\BASE\\Blank-Base.VHDX"},
        {"volume_path": "\\\\?\\Volume{26a21bda-a627-11d7-9931-806e6f6e6963}\\base\\blank-base.vhdx"},
        {"relative_path": ".\\gone.vhdx", "absolute_win32_path": "D:/base/blank-base.vhdx"},
    ],
)
def test_a_path_of_another_machine_is_found_by_its_end(named: dict[str, str], tmp_path: Path) -> None:
    parent = base(tmp_path / "base/blank-base.vhdx")
    path = child(tmp_path / "scratch/sandbox.vhdx", parent, **named)
    assert opens(path, tmp_path) == parent


@pytest.mark.parametrize("named", ["/etc/passwd", "..\\..\\..\\..\\etc\\passwd", "\0", "", "C:", "\\\\?\\", ".", ".."])
def test_names_that_lead_nowhere_are_errors(named: str, tmp_path: Path) -> None:
    path = child(tmp_path / "c/child.vhdx", base(tmp_path / "b/base.vhdx"), relative_path=named)
    with pytest.raises((NotFoundError, UnsafeEntryError)):
        VhdxDisk.open(path)
    with pytest.raises((NotFoundError, FormatError)):
        VhdxDisk.open(path, "anywhere")


def test_a_pipe_is_no_disk(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.vhdx")
    with pytest.raises(UnsupportedError, match="no file"):
        VhdxDisk.open(tmp_path / "pipe.vhdx")
    with pytest.raises(UnsupportedError, match="no file"):
        VhdxDisk.open(tmp_path)


def test_a_parent_that_was_written_to_no_longer_fits(tmp_path: Path) -> None:
    parent = base(tmp_path / "base.vhdx")
    path = child(tmp_path / "child.vhdx", parent)
    with DiskFile(parent, writable=True) as file:
        write_header(file, read_header(file).next())  # opened for writing, and nothing written
    assert opens(path) == parent
    with DiskFile(parent, writable=True) as file:
        write_header(file, read_header(file).next(data_changes=True))
    with pytest.raises(FormatError) as caught:
        VhdxDisk.open(path)
    assert caught.value.kind == "parent-changed"


def test_two_states_may_fit_while_disks_are_merged(tmp_path: Path) -> None:
    parent = base(tmp_path / "base.vhdx")
    with VhdxDisk.open(parent) as disk:
        state = disk.header.data_write_id
    path = child(tmp_path / "child.vhdx", parent, relative_path=".\\base.vhdx", parent_linkage2=f"{{{uuid4()}}}")
    assert opens(path) == parent
    path.unlink()
    entries = {"parent_linkage": f"{{{uuid4()}}}", "parent_linkage2": f"{{{state}}}"}
    assert opens(child(path, parent, relative_path=".\\base.vhdx", **entries)) == parent


def test_a_disk_that_stands_on_itself_is_refused(tmp_path: Path) -> None:
    path = child(tmp_path / "child.vhdx", base(tmp_path / "base.vhdx"), relative_path=".\\child.vhdx")
    with pytest.raises(UnsafeEntryError, match="stands on itself"):
        VhdxDisk.open(path)


def test_a_circle_is_refused(tmp_path: Path) -> None:
    with VhdxDisk.open(base(tmp_path / "base.vhdx")) as disk:
        state = disk.header.data_write_id
    first = child(tmp_path / "first.vhdx", tmp_path / "base.vhdx", relative_path=".\\second.vhdx")
    child(tmp_path / "second.vhdx", tmp_path / "base.vhdx", relative_path=".\\first.vhdx")
    for name in ("first", "second"):
        with DiskFile(tmp_path / f"{name}.vhdx", writable=True) as file:
            header = read_header(file)
            write_header(file, type(header)(9, header.file_write_id, state, UUID(int=0), MIB, MIB, header.slot))
    with pytest.raises(UnsafeEntryError, match="stands on itself"):
        VhdxDisk.open(first)


def test_a_chain_without_end_is_refused(tmp_path: Path) -> None:
    path = base(tmp_path / "0.vhdx")
    for number in range(1, DEEPEST_CHAIN):
        path = child(tmp_path / f"{number}.vhdx", path)
    with VhdxDisk.open(path) as disk:
        assert len(disk.chain) == DEEPEST_CHAIN
        assert disk.read(0, 4) == b"base"
        assert list(disk.ranges()) == [(0, MIB)]
    create_vhdx(tmp_path / "last.vhdx", parent=path)
    with pytest.raises(LimitError, match="on each other"):
        VhdxDisk.open(tmp_path / "last.vhdx")


def test_parents_that_are_given_must_be_all_of_them_and_no_more(tmp_path: Path) -> None:
    first = base(tmp_path / "1.vhdx")
    second = child(tmp_path / "2.vhdx", first)
    third = child(tmp_path / "3.vhdx", second)
    with VhdxDisk.open(third, [second, first]) as disk:
        assert disk.read(0, 4) == b"base"
    with pytest.raises(NotFoundError, match="was not named"):
        VhdxDisk.open(third, [second])
    with pytest.raises(UsageError, match="last disk of the chain"):
        VhdxDisk.open(second, [first, third])
    with pytest.raises(FormatError, match="is not what it was"):
        VhdxDisk.open(third, [first])


def test_without_its_parents_a_disk_shows_what_it_holds_itself(tmp_path: Path) -> None:
    parent = base(tmp_path / "base.vhdx")
    with new_vhdx(tmp_path / "child.vhdx", parent=parent) as disk:
        disk.write(MIB, b"c" * MIB)
    with VhdxDisk.open(tmp_path / "child.vhdx", "none") as found:
        assert found.read(MIB, 4) == b"cccc"
        with pytest.raises(NotFoundError, match="in its parent"):
            found.read(0, 4)
