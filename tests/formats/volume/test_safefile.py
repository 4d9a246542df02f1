"""The operations of safefile on hostile trees: whatever lies in the way, nothing outside is touched."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.formats.transport.layers import DIRECTORY, LINK, content_of, info, paths_of, put, stream, volume
from tests.open_files import open_files
from wclayer.errors import StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.volume import BackupRestore, Volume, VolumeError
from wclayer.formats.volume.paths import clean, components, long_absolute

OPERATIONS: dict[str, Callable[[Volume, str], object]] = {
    "open": lambda v, path: os.close(v.open_data(v.ensure_not_reparse_point(path))),
    "create": lambda v, path: v.create(path).close(),
    "mkdir": Volume.mkdir,
    "mkdirall": Volume.mkdir_all,
    "lstat": Volume.lstat,
    "remove": Volume.remove,
    "removeall": Volume.remove_all,
    "link-old": lambda v, path: v.link(v, path, "linked"),
    "link-new": lambda v, path: v.link(v, "file", path),
    "ensure": Volume.ensure_not_reparse_point,
}
PATHS = {
    "link in the middle": "out\\secret",
    "reparse point in the middle": "point\\x",
    "up": "..\\outside\\secret",
    "up after cleaning": "a\\..\\..\\outside\\secret",
    "absolute": "\\file",
    "drive": "C:\\file",
    "stream": "file:s",
    "NUL": "a\0b",
    "empty": ".",
    "too long": "a\\" * 17000 + "b",
    "long name": "n" * 256,
    "question mark": "a?b",
    "pipe": 'a|b"',
}


@pytest.fixture(params=["openat2", "component by component"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    """A volume with links of this machine and reparse points of its own, beside a folder with a secret."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    made = volume(tmp_path / "root")
    if request.param != "openat2":
        made.tree.door._has_openat2 = False
    put(made, "file", b"content")
    made.mkdir("point")
    node = made.open_folder("point")
    restore = BackupRestore(node, security=False)
    restore.write(stream(reparse=LINK))
    restore.close()
    node.close()
    (tmp_path / "root" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "leaf").symlink_to(tmp_path / "outside" / "secret")
    made.tree.locate("file", "open").folder.names = None
    return made


def assert_untouched(tmp_path: Path) -> None:
    assert [(p.name, p.read_text()) for p in (tmp_path / "outside").iterdir()] == [("secret", "secret")]
    assert os.stat(tmp_path / "outside" / "secret").st_nlink == 1


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", PATHS)
def test_40_no_operation_passes_through_a_link_or_leaves_the_root(
    tmp_path: Path, root: Volume, operation: str, kind: str
) -> None:
    if kind == "empty" and operation == "removeall":
        with pytest.raises(WclayerError):
            root.remove_all(".")
    else:
        with pytest.raises((UnsafeEntryError, VolumeError)):
            OPERATIONS[operation](root, PATHS[kind])
    assert_untouched(tmp_path)


@pytest.mark.parametrize(
    ("operation", "fine"),
    [("lstat", True), ("remove", True), ("removeall", True)]
    + [(name, False) for name in ("open", "create", "mkdir", "mkdirall", "link-old", "link-new", "ensure")],
)
@pytest.mark.parametrize("name", ["out", "leaf", "point"])
def test_40_a_link_at_the_end_is_itself(tmp_path: Path, root: Volume, operation: str, fine: bool, name: str) -> None:
    if fine:
        OPERATIONS[operation](root, name)
        assert root.exists(name) == (operation == "lstat")
    else:
        with pytest.raises((UnsafeEntryError, VolumeError)):
            OPERATIONS[operation](root, name)
    assert_untouched(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["openat2", "component by component"])
def test_41_a_folder_swapped_for_a_link_while_it_is_written_to(tmp_path: Path, how: str) -> None:
    made = volume(tmp_path / "root")
    if how != "openat2":
        made.tree.door._has_openat2 = False
    outside = tmp_path / "outside"
    outside.mkdir()
    made.mkdir("d")
    stop = threading.Event()
    inside, aside = tmp_path / "root" / "d", tmp_path / "root" / "d-away"

    def swap() -> None:
        steps: tuple[Callable[[], None], ...] = (
            lambda: os.rename(inside, aside),
            lambda: os.symlink(outside, inside),
            lambda: os.unlink(inside),
            lambda: os.rename(aside, inside),
        )
        dice = random.Random(41)
        while not stop.is_set():
            for step in steps:
                with suppress(OSError):
                    step()
                time.sleep(dice.random() / 10_000)  # or both threads may go in step, and one moment never be met

    swapper = threading.Thread(target=swap)
    swapper.start()
    done = refused = 0
    deadline = time.monotonic() + 60
    try:
        for number in count():
            if (number >= 10_000 and done and refused) or time.monotonic() > deadline:
                break
            made.tree.door.close()  # so that each time the folder is reached anew
            made.tree._last_path, made.tree._last = "", made.tree._root
            try:
                made.create(f"d\\f{number % 50}-{number}").close()
                done += 1
            except WclayerError:
                refused += 1
    finally:
        stop.set()
        swapper.join()
    assert list(outside.iterdir()) == []
    assert done
    assert refused


def test_42_removing_all_follows_no_link_and_goes_on_after_an_error(tmp_path: Path, root: Volume) -> None:
    put(root, "d\\e\\f", b"x", info(0x21))
    (tmp_path / "root" / "d" / "e" / "l").symlink_to(tmp_path / "outside")
    root.remove_all("d")
    assert not root.exists("d")
    assert_untouched(tmp_path)


def test_42_folders_in_folders_are_removed_however_deep(root: Volume) -> None:
    root.mkdir_all("\\".join("d" * 1100))
    root.remove_all("d")
    assert not root.exists("d")


def test_42_a_folder_of_many_names_is_removed(root: Volume) -> None:
    for number in range(600):
        root.create(f"n{number}").close()
    root.mkdir("d")
    for number in range(600):
        put(root, f"d\\{number}")
    root.remove_all("d")
    assert not root.exists("d")


def test_42_a_read_only_file_loses_the_attribute_under_all_its_names(root: Volume) -> None:
    root.set_basic(root.lstat("file"), info(1))
    assert root.link(root, "file", "other")
    root.remove("file")
    assert root.lstat("other").basic.attributes == 0x80


def test_42_a_link_needs_a_file_and_a_free_name(tmp_path: Path, root: Volume) -> None:
    put(root, "other")
    for target, name, code in (
        ("file", "other", 183),
        ("none", "x", 2),
        ("file", "none\\x", 2),
        ("file", "file\\x", 267),
    ):
        with pytest.raises(VolumeError) as error:
            root.link(root, target, name)
        assert error.value.winerror == code
    root.mkdir("d")
    with pytest.raises(VolumeError) as error:
        root.link(root, "d", "x")
    assert error.value.winerror == 5
    assert_untouched(tmp_path)


def test_42_where_files_cannot_be_linked_nothing_is_made(root: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert not root.link(root, "file", "x")
    assert not root.exists("x")


def test_a_name_of_255_utf16_units_is_held_whatever_its_bytes(tmp_path: Path) -> None:
    made = volume(tmp_path / "v")
    name = "\u4e2d" * 255
    made.mkdir(name)
    put(made, f"{name}\\{name}", b"content")
    assert content_of(made, f"{name}\\{name}") == b"content"
    assert paths_of(made) == [name, f"{name}\\{name}"]
    with pytest.raises(VolumeError):
        made.mkdir(name)


def test_letters_that_differ_in_case_name_one_file(tmp_path: Path) -> None:
    made = volume(tmp_path / "v")
    put(made, "Fil\u00e9s\\Readme", b"x", info())
    assert made.lstat("FIL\u00c9S\\README").path == "Fil\u00e9s\\Readme"
    made.remove("fil\u00e9s\\readme")
    made.mkdir("fil\u00c9s\\README")


def test_two_names_of_this_machine_that_windows_takes_for_one_are_both_found(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for name in ("a", "A"):
        (tmp_path / "v" / name).write_text(name)
    made = volume(tmp_path / "v")
    assert [content_of(made, name) for name in ("a", "A")] == [b"a", b"A"]


def test_a_device_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    made = volume(tmp_path)
    with pytest.raises(WclayerError):
        list(made.walk(""))


def test_nothing_stays_open(tmp_path: Path) -> None:
    before = open_files()
    for _ in range(3):
        made = volume(tmp_path / "v")
        put(made, "a\\b\\c\\d" + os.urandom(4).hex())
        with suppress(StoreError):
            made.create("a")
        list(made.walk(""))
        made.close()
    assert open_files() == before


CLEANED = {
    "a/../b": "b",
    "": ".",
    "a\\..": ".",
    "a\\..\\..": "..",
    "\\..\\a": "\\a",
    "C:": "C:.",
    "C:\\a\\..\\b": "C:\\b",
    "C:a\\..\\..": "C:..",
    "\\\\s\\h\\..\\a": "\\\\s\\h\\a",
    "\\\\s\\h": "\\\\s\\h",
    "\\\\?\\C:\\a\\.\\b": "\\\\?\\C:\\a\\b",
    "a\\..\\c:": ".\\c:",
    ".\\::\\..": ".\\.",
    "a\\\\b\\": "a\\b",
    ".\\a": "a",
    "a..b": "a..b",
    "...": "...",
}


@pytest.mark.parametrize("path", CLEANED)
def test_paths_are_cleaned_as_go_cleans_them(path: str) -> None:
    assert clean(path) == CLEANED[path]


@given(st.text("ab.\\/:", max_size=12))
def test_cleaning_twice_changes_nothing_more(path: str) -> None:
    cleaned = clean(path)
    assume(cleaned[1:2] != ":")  # whatever is before it: Go takes that for a drive, too, the second time
    # Go keeps a path relative also for the sake of a name with a colon that it has taken back, once.
    assert clean(cleaned) in (cleaned, cleaned.removeprefix(".\\"))


@given(st.text(max_size=30))
def test_components_lead_nowhere_else(path: str) -> None:
    try:
        parts = components(path, "open")
    except UnsafeEntryError:
        return
    assert parts
    assert all(part not in ("", ".", "..") and not set(part) & set("/\\:\0") for part in parts)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("\\\\?\\x", "\\\\?\\x"),
        ("\\\\.\\x", "\\\\.\\x"),
        ("\\\\srv\\sh\\x", "\\\\?\\UNC\\srv\\sh\\x"),
        ("C:\\x", "\\\\?\\C:\\x"),
    ],
)
def test_04_the_long_form_of_a_path(path: str, expected: str) -> None:
    assert long_absolute(path) == expected


@pytest.mark.parametrize("path", ["C:foo", "\\foo", "foo", ""])
def test_04_a_relative_path_has_no_long_form_off_windows(path: str) -> None:
    with pytest.raises(UnsafeEntryError):
        long_absolute(path)


def test_the_attribute_word_is_what_ntfs_would_report(tmp_path: Path) -> None:
    made = volume(tmp_path / "v")
    made.mkdir("d")
    for asked, reported in ((0, 0x20), (0x80, 0x80), (0x27, 0x27), (0x4A20, 0x20), (0x2000, 0x2000), (0x10, 0x80)):
        put(made, f"f{asked:x}", b"", info(asked))
        assert made.lstat(f"f{asked:x}").basic.attributes == reported
    made.set_basic(made.lstat("d"), info(DIRECTORY | 2))
    assert made.lstat("d").basic.attributes == 0x12
    assert made.lstat("d").basic[1:] == info()[1:]


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)
