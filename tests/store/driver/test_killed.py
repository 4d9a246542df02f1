"""A program that dies at any step leaves the old state or the new one, and the next one cleans up.

The step is a change to the file system: making, renaming, linking or removing something. The program is a copy of this
one that ends itself right before its n-th step, for every n.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.image.stacks import file, folder
from tests.store.tars import add, tar, tar_bytes
from wclayer.model import LayerItem, Tombstone
from wclayer.store.driver import MergedMounts, WindowsFilterDriver
from wclayer.store.driver.checking import check_home, list_layers
from wclayer.store.driver.layers import LayerStore
from wclayer.store.roots import open_root
from wclayer.store.snapshots import Kind, Snapshotter

STEPS = frozenset(("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate", "os.chmod", "os.utime"))
BASE: list[LayerItem] = [folder("Files"), folder("Files/d"), file("Files/d/x", b"x" * 10), file("Files/y", b"y")]
TOP: list[LayerItem] = [folder("Files"), file("Files/t", b"t"), Tombstone("Files/y")]
KILLED = 99


def dies_at(step: int, action: Callable[[], None]) -> bool:
    """Run ``action`` in a copy of this program that dies before its step number ``step``; whether it came to that."""
    with warnings.catch_warnings():
        # Python 3.12 and later warn when a test runner has threads; the copy uses none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        assert status in (0, KILLED), status
        return status == KILLED
    left = step

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_CREAT | os.O_TRUNC)
        if event in STEPS or writes:
            left -= 1
            if left < 0:
                os._exit(KILLED)

    code = 1
    try:
        sys.addaudithook(count)
        action()
        code = 0
    finally:
        os._exit(code)
    raise AssertionError


def every_step(prepared: Path, work: Path, action: Callable[[Path], None], look: Callable[[Path], str]) -> list[str]:
    """What ``look`` finds after a death at each step of ``action`` on a copy of ``prepared``; the last one lived."""
    found = []
    for step in range(2000):
        shutil.copytree(prepared, work, symlinks=True, dirs_exist_ok=False)
        died = dies_at(step, lambda: action(work))
        found.append(look(work))
        shutil.rmtree(work)
        if not died:
            return found
    raise AssertionError("it does not end")


def opened(home: Path) -> WindowsFilterDriver:
    return WindowsFilterDriver(home, mounts=MergedMounts(), patience=5)


def sound(home: Path) -> WindowsFilterDriver:
    """The driver after its cleanup, with nothing wrong."""
    driver = opened(home)
    driver.cleanup()
    assert list(check_home(driver.home)) == []
    assert sum(layer.uses for layer in list_layers(driver.home)) == 0
    leftovers = [path.name for path in home.iterdir() if path.name.startswith(".")]
    assert leftovers == [".wclayer"]
    for private in ("views", "differences", "mounts", "leases"):
        place = home / ".wclayer" / private
        assert not place.exists() or list(place.iterdir()) == [], private
    return driver


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A home with a base layer, an empty one on it, and a read-write one on it, which holds a change."""
    home = tmp_path / "prepared"
    with opened(home) as driver:
        add(driver, "base", "", BASE)
        driver.create("empty", "base")
        driver.create_read_write("rw", "base")
        (Path(driver.get("rw")) / "Files" / "old").write_text("old")
        driver.put("rw")
    return home


def is_one_way(found: list[str]) -> bool:
    """Whether it was the old state up to some step, and the new one from then on."""
    return found == sorted(found) and found[0] == "1 old" and found[-1] == "2 new"


@pytest.mark.slow
def test_a_layer_is_made_or_not(prepared: Path, tmp_path: Path) -> None:
    def look(home: Path) -> str:
        with sound(home) as driver:
            return "2 new" if driver.exists("new") else "1 old"

    def read_only(home: Path) -> None:
        opened(home).create("new", "base")

    def read_write(home: Path) -> None:
        opened(home).create_read_write("new", "base")

    for make in (read_only, read_write):
        assert is_one_way(every_step(prepared, tmp_path / "w", make, look))


@pytest.mark.slow
def test_a_layer_is_filled_or_not(prepared: Path, tmp_path: Path) -> None:
    def act(home: Path) -> None:
        opened(home).apply_diff("empty", "base", tar(TOP))

    def look(home: Path) -> str:
        with sound(home) as driver:
            with driver.diff("empty") as diff:
                content = diff.read()
            assert driver.home.chain("empty") == ("base",)
            if content != tar_bytes(TOP):
                assert content == bytes(1024)
                driver.apply_diff("empty", "base", tar(TOP))  # and it can be tried again
                return "1 old"
            return "2 new"

    assert is_one_way(every_step(prepared, tmp_path / "w", act, look))


@pytest.mark.slow
def test_a_layer_is_removed_or_not(prepared: Path, tmp_path: Path) -> None:
    def remove(home: Path) -> None:
        opened(home).remove("rw")

    def look(home: Path) -> str:
        with sound(home) as driver:
            return "1 old" if driver.exists("rw") else "2 new"

    assert is_one_way(every_step(prepared, tmp_path / "w", remove, look))


@pytest.mark.slow
def test_what_was_changed_in_a_mounted_layer_is_kept_from_the_last_put_on(prepared: Path, tmp_path: Path) -> None:
    def act(home: Path) -> None:
        driver = opened(home)
        root = Path(driver.get("rw")) / "Files"
        (root / "new").write_text("new")
        driver.put("rw")

    def look(home: Path) -> str:
        with sound(home) as driver:
            names = [change.path for change in driver.changes("rw")]
            assert names[:1] == ["Files"]
            root = Path(driver.get("rw")) / "Files"
            assert (root / "old").read_text() == "old"
            assert (root / "new").exists() == ("Files/new" in names)
            driver.put("rw")
            return "2 new" if "Files/new" in names else "1 old"

    assert is_one_way(every_step(prepared, tmp_path / "w", act, look))


@pytest.mark.slow
def test_a_layer_of_a_store_is_registered_and_held_or_not(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    LayerStore(prepared).close()

    def act(root: Path) -> None:
        store = LayerStore(root)
        base = store.register(lambda: tar(BASE))
        top = store.register(lambda: tar(TOP), base.chain_id)
        store.hold("image", [base.chain_id, top.chain_id])

    def look(root: Path) -> str:
        with LayerStore(root, mounts=MergedMounts()) as store:
            store.collect()
            assert list(open_root(root).check(contents=True)) == []
            held = store.images()
            assert len(store.layers()) == len(store.driver.home.names()) == (2 if held else 0)
            return "2 new" if held else "1 old"

    assert is_one_way(every_step(prepared, tmp_path / "w", act, look))


@pytest.mark.slow
def test_a_snapshot_is_committed_or_not(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    with Snapshotter(prepared) as snapshots:
        snapshots.prepare("extract-1")
        snapshots.apply("extract-1", io.BytesIO(tar_bytes(BASE)))
        snapshots.commit("base", "extract-1")
        snapshots.prepare("active", "base")
        (snapshots.tree("active") / "Files" / "new").write_text("new")

    def look(root: Path) -> str:
        with Snapshotter(root) as snapshots:
            assert list(open_root(root).check(contents=True)) == []
            kinds = {info.name: info.kind for info in snapshots.walk()}
            if "top" in kinds:
                assert kinds == {"base": Kind.COMMITTED, "top": Kind.COMMITTED}
                snapshots.view("view", "top")
                assert (snapshots.tree("view") / "Files" / "new").read_text() == "new"
                return "2 new"
            assert kinds == {"base": Kind.COMMITTED, "active": Kind.ACTIVE}
            assert (snapshots.tree("active") / "Files" / "new").read_text() == "new"
            snapshots.commit("top", "active")
            return "1 old"

    found = every_step(prepared, tmp_path / "w", lambda root: Snapshotter(root).commit("top", "active"), look)
    assert is_one_way(found)
