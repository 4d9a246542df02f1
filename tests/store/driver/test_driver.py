"""The operations of moby's windowsfilter driver; names carry the ids of the behaviours they hold to."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from pathlib import Path

import pytest

from tests.image.stacks import file, folder, folders, stream
from tests.store.tars import add, tar, tar_bytes, tree
from wclayer.errors import (
    DigestMismatchError,
    FormatError,
    NotFoundError,
    StoreError,
    UnsafeEntryError,
    UsageError,
    WclayerError,
)
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.model import HardLink, Metadata, Tombstone
from wclayer.store.driver import Change, ChangeKind, FolderMounts, MergedMounts, WindowsFilterDriver
from wclayer.store.driver.checking import check_home
from wclayer.store.driver.home import DriverHome
from wclayer.store.driver.options import DEFAULT_SIZE, parse_options, parse_size
from wclayer.store.readwrite.body import ReadWriteBody

BASE = [*folders("Files", "Files/a"), file("Files/a/x", b"x" * 10), file("Files/a/y", b"yy")]
NEXT = [*folders("Files", "Files/a"), file("Files/a/x", b"new"), file("Files/n", b"n"), Tombstone("Files/a/y")]
BCD = "UtilityVM/Files/EFI/Microsoft/Boot/BCD"


def chain(driver: WindowsFilterDriver, name: str) -> list[str]:
    """What layerchain.json lists, by name."""
    text = (driver.layer_path(name) / "layerchain.json").read_bytes()
    return [Path(one).name for one in json.loads(text) or []]


# ---------------------------------------------------------------------- identity


def test_a1_the_driver_is_windowsfilter_and_its_status_is_one_pair(driver: WindowsFilterDriver) -> None:
    assert str(driver) == "windowsfilter"
    assert driver.status() == [("Windows", "")]


def test_a4_home_is_made_when_it_is_missing(tmp_path: Path) -> None:
    with WindowsFilterDriver(tmp_path / "deep" / "home"):
        assert (tmp_path / "deep" / "home").is_dir()
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="failed to create"):
        WindowsFilterDriver(tmp_path / "taken" / "home")


def test_a5_of_the_options_only_size_is_interpreted_and_its_default_is_127_gb(tmp_path: Path) -> None:
    assert parse_options([]).default_size == DEFAULT_SIZE == 127 * 2**30
    found = parse_options(["SIZE=20GB", "other=1"])
    assert (found.default_size, found.ignored) == (20 << 30, ("other=1",))
    with pytest.raises(UsageError):
        parse_options(["size"])
    with WindowsFilterDriver(tmp_path / "home", ["size=3g"]) as driver:
        driver.create_read_write("rw")
        assert ReadWriteBody(driver.layer_path("rw")).state.size == 3 << 30


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("20", 20),
        ("32b", 32),
        ("32kb", 32 << 10),
        ("32 KiB", 32 << 10),
        ("20G", 20 << 30),
        ("20GB", 20 << 30),
        ("20GiB", 20 << 30),
        ("127gb", 127 << 30),
        ("1.5m", 3 << 19),
        ("0.3 K", 307),
        ("2t", 2 << 40),
        ("1PiB", 1 << 50),
        ("32 ", 32),
    ],
)
def test_a11_sizes_are_read_as_go_units_reads_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "hello", "-32", " 32", "32  kb", "32 mm", "32m b", "1e3", "9999999p", "٣٢"])
def test_a11_what_go_units_refuses_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"size|disk"):
        parse_size(text)


# ---------------------------------------------------------------------- create


def test_a12_a_bad_size_leaves_nothing(driver: WindowsFilterDriver) -> None:
    with pytest.raises(UsageError, match="storage options"):
        driver.create_read_write("rw", storage_options={"size": "much"})
    assert not driver.exists("rw")
    assert [path.name for path in driver.home.home.iterdir()] == [".wclayer"]
    driver.create_read_write("rw", storage_options={"SIZE": "1g", "unknown": "kept out"})
    assert ReadWriteBody(driver.layer_path("rw")).state.size == 1 << 30


def test_a13_the_parent_is_looked_for_before_anything_is_made(driver: WindowsFilterDriver) -> None:
    with pytest.raises(NotFoundError, match="on gone, which is not there"):
        driver.create("layer", "gone")
    assert not driver.exists("layer")
    assert [path.name for path in driver.home.home.iterdir()] == [".wclayer"]


def test_a14_storage_options_of_a_read_only_layer_are_checked_too(driver: WindowsFilterDriver) -> None:
    with pytest.raises(UsageError):
        driver.create("layer", storage_options={"size": "-1"})
    assert not driver.exists("layer")


def test_a15_h1_chains_of_a_base_a_child_a_grandchild_and_what_stands_on_init(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    assert (driver.layer_path("base") / "layerchain.json").read_bytes() == b"null"
    add(driver, "child", "base", NEXT)
    add(driver, "grandchild", "child", [folder("Files"), file("Files/g", b"g")])
    assert chain(driver, "child") == ["base"]
    assert chain(driver, "grandchild") == ["child", "base"]
    driver.create_read_write("box-init", "grandchild")
    driver.create_read_write("box", "box-init")
    assert chain(driver, "box-init") == ["grandchild", "child", "base"]
    assert chain(driver, "box") == ["grandchild", "child", "base"]


def test_a15_a_parent_with_nothing_but_deletions_is_in_the_chain(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "less", "base", [folder("Files"), folder("Files/a"), Tombstone("Files/a/y")])
    driver.create("top", "less")
    assert chain(driver, "top") == ["less", "base"]


def test_a_read_write_parent_with_changes_is_not_left_out_of_the_chain(merged: WindowsFilterDriver) -> None:
    merged.create_read_write("box-init")
    root = Path(merged.get("box-init"))
    (root / "Files").mkdir()
    merged.put("box-init")
    with pytest.raises(StoreError, match="has changes"):
        merged.create_read_write("box", "box-init")
    assert not merged.exists("box")


def test_a_layer_is_made_once(driver: WindowsFilterDriver) -> None:
    driver.create("layer")
    with pytest.raises(StoreError, match="already"):
        driver.create("layer")
    with pytest.raises(NotFoundError):
        driver.create("self", "self")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "x-removing", "x-replacing", ".hidden", "a\0b", "c:", "n" * 300]
)
def test_a7_a_name_that_could_mean_another_place_is_no_layer(driver: WindowsFilterDriver, name: str) -> None:
    assert not driver.exists(name)
    for operation in (driver.create, driver.remove, driver.get, driver.layer_path):
        with pytest.raises(UsageError):
            operation(name)


# ---------------------------------------------------------------------- the files of the store


@pytest.mark.parametrize("spelling", ["layerID", "layerId", "LAYERID"])
def test_a8_h1_an_alias_is_found_in_any_case_and_taken_verbatim(driver: WindowsFilterDriver, spelling: str) -> None:
    add(driver, "real", "", BASE)
    driver.create("alias")
    (driver.layer_path("alias") / spelling).write_text("real")
    assert driver.exists("alias")
    assert driver.changes("alias") == driver.changes("real")
    assert driver.layer_path("alias").name == "alias"
    assert driver.metadata("alias") == {"dir": str(driver.layer_path("alias"))}
    (driver.layer_path("alias") / spelling).write_text("gone\n")
    assert not driver.exists("alias")


def test_a9_a10_chains_are_read_in_every_form_docker_wrote(driver: WindowsFilterDriver) -> None:
    home = driver.home
    add(driver, "base", "", BASE)
    add(driver, "Mid", "base", NEXT)
    driver.create("top", "Mid")
    place = driver.layer_path("top") / "layerchain.json"
    for text in ("null", "[]"):
        place.write_text(text)
        assert home.chain("top") == ()
    place.unlink()
    assert home.chain("top") == ()
    place.write_text(json.dumps([r"C:\ProgramData\docker\windowsfilter\MID", "/elsewhere/base"]))
    assert home.chain("top") == ("Mid", "base")
    assert Change("Files/n", ChangeKind.DELETED) not in driver.changes("top")


def test_a10_a_parent_that_is_not_there_is_named(driver: WindowsFilterDriver) -> None:
    driver.create("top")
    place = driver.layer_path("top") / "layerchain.json"
    place.write_text(json.dumps([r"C:\w\one", r"C:\w\two"]))
    with pytest.raises(NotFoundError, match="parent one is not there, which is number 0"):
        driver.home.chain("top")


def test_a9_h1_a_chain_that_is_no_json_is_an_error(driver: WindowsFilterDriver) -> None:
    driver.create("top")
    place = driver.layer_path("top") / "layerchain.json"
    for text in ("{", '{"a": 1}', "[1]", '[""]'):
        place.write_text(text)
        with pytest.raises(FormatError):
            driver.home.chain("top")
    assert [finding.code for finding in check_home(driver.home)] == ["chain"]


def test_a10_circles_and_chains_that_are_too_long_are_errors(driver: WindowsFilterDriver) -> None:
    driver.create("top")
    place = driver.layer_path("top") / "layerchain.json"
    place.write_text(json.dumps(["/x/top"]))
    with pytest.raises(FormatError, match="below itself"):
        driver.home.chain("top")
    place.write_text(json.dumps([f"/x/{number}" for number in range(126)]))
    with pytest.raises(FormatError, match="max depth"):
        driver.home.chain("top")


def test_a10_a31_a_layer_has_at_most_125_layers_below_it(driver: WindowsFilterDriver) -> None:
    driver.create("base")
    path = driver.layer_path("base")
    (path / "Files").mkdir()
    for number in range(125):
        driver.create(f"l{number}")
    (path / "layerchain.json").write_text(json.dumps([str(driver.layer_path(f"l{n}")) for n in range(125)]))
    with pytest.raises(StoreError, match="max depth exceeded"):
        driver.create("more", "base")


def test_a16_whatever_goes_wrong_exists_says_no(driver: WindowsFilterDriver) -> None:
    driver.create("layer")
    (driver.layer_path("layer") / "layerID").write_bytes(b"\xff\xfe")
    assert not driver.exists("layer")
    assert not driver.exists("../layer")


# ---------------------------------------------------------------------- remove


def test_a20_h2_removing_twice_is_fine_and_says_what_was_there(driver: WindowsFilterDriver) -> None:
    add(driver, "layer", "", BASE)
    assert driver.remove("layer").existed
    assert not driver.exists("layer")
    again = driver.remove("layer")
    assert (again.existed, again.left_behind) == (False, ())
    assert [path.name for path in driver.home.home.iterdir()] == [".wclayer"]


def test_a17_h2_a_rename_that_is_refused_is_an_error(
    driver: WindowsFilterDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(driver, "layer", "", BASE)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        with pytest.raises(StoreError, match="cannot remove the layer: Permission denied"):
            driver.remove("layer")
    assert driver.exists("layer")
    assert list(check_home(driver.home)) == []


def test_a20_what_cannot_be_deleted_is_told_and_goes_later(
    driver: WindowsFilterDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(driver, "layer", "", BASE)

    def refuse(path: Path) -> None:
        raise StoreError("it is busy")

    with monkeypatch.context() as patched:
        patched.setattr("wclayer.store.driver.removal.remove_layer_folder", refuse)
        removed = driver.remove("layer")
    assert removed.existed
    assert [path.name for path in removed.left_behind] == ["layer-removing"]
    assert removed.reason == "it is busy"
    assert not driver.exists("layer")
    assert [finding.code for finding in check_home(driver.home)] == ["leftover"]
    assert [one.name for one in driver.cleanup()] == ["layer"]
    assert list(check_home(driver.home)) == []
    driver.create("layer")


def test_a18_a_layer_whose_name_is_part_of_another_ones_is_another_layer(driver: WindowsFilterDriver) -> None:
    for name in ("abc", "abcd", "xabc"):
        add(driver, name, "", BASE)
    driver.get("abcd")
    assert driver.remove("abc").existed
    assert driver.exists("abcd")
    assert driver.exists("xabc")


def test_a19_a20_h2_leftovers_go_when_the_store_is_opened_and_missing_ones_do_not_matter(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with WindowsFilterDriver(home) as driver:
        add(driver, "layer", "", BASE)
        driver.layer_path("layer").rename(home / "layer-removing")
        add(driver, "other", "", BASE)
        # What a program leaves that dies between making a layer and putting it in its place.
        driver.layer_path("other").rename(home / "other-replacing")
    with WindowsFilterDriver(home) as driver:
        assert not (home / "layer-removing").exists()
        assert not driver.exists("layer")
        assert driver.changes("other")
        assert list(check_home(driver.home)) == []
        assert driver.cleanup() == []


def test_a20_deleting_follows_no_link_and_minds_no_read_only_file(driver: WindowsFilterDriver, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    driver.create("layer")
    path = driver.layer_path("layer")
    (path / "link").symlink_to(outside, target_is_directory=True)
    (path / "deep").mkdir()
    (path / "deep" / "file").write_text("")
    (path / "deep" / "file").chmod(0o400)
    (path / "deep").chmod(0o500)
    assert driver.remove("layer").left_behind == ()
    assert (outside / "kept").read_text() == "kept"


def test_a_layer_that_others_stand_on_stays(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "child", "base", NEXT)
    with pytest.raises(StoreError, match="child stands on it"):
        driver.remove("base")
    driver.remove("child")
    assert driver.remove("base").existed


# ---------------------------------------------------------------------- get and put


class Failing(FolderMounts):
    """Mounts that fail at one step, and tell what was done."""

    def __init__(self, step: str = "") -> None:
        self.step = step
        self.done: list[str] = []

    def _do(self, step: str) -> None:
        self.done.append(step)
        if step == self.step:
            raise StoreError(f"{step} failed")

    def activate(self, home: DriverHome, name: str) -> None:  # noqa: ARG002
        self._do("activate")

    def deactivate(self, home: DriverHome, name: str) -> None:  # noqa: ARG002
        self._do("deactivate")

    def prepare(self, home: DriverHome, name: str, chain: object) -> None:  # noqa: ARG002
        self._do("prepare")

    def unprepare(self, home: DriverHome, name: str) -> None:  # noqa: ARG002
        self._do("unprepare")

    def mount_path(self, home: DriverHome, name: str) -> str:  # noqa: ARG002
        self._do("mount_path")
        return "/mounted"


def test_h3_a_layer_stays_mounted_until_the_last_put(tmp_path: Path) -> None:
    mounts = Failing()
    with WindowsFilterDriver(tmp_path / "home", mounts=mounts) as driver:
        driver.create("layer")
        mounts.done.clear()
        assert driver.get("layer") == driver.get("layer") == "/mounted"
        assert mounts.done == ["activate", "prepare", "mount_path", "mount_path"]
        driver.put("layer")
        assert driver.counts.total("layer") == 1
        assert mounts.done[4:] == []
        driver.put("layer")
        assert mounts.done[4:] == ["unprepare", "deactivate"]
        assert driver.counts.total("layer") == 0


@pytest.mark.parametrize(
    ("step", "undone"),
    [
        ("activate", ["activate"]),
        ("prepare", ["activate", "prepare", "deactivate"]),
        ("mount_path", ["activate", "prepare", "mount_path", "unprepare", "deactivate"]),
    ],
)
def test_h3_a_step_that_fails_undoes_those_before_it(tmp_path: Path, step: str, undone: list[str]) -> None:
    mounts = Failing()
    with WindowsFilterDriver(tmp_path / "home", mounts=mounts) as driver:
        driver.create("layer")
        mounts.done.clear()
        mounts.step = step
        with pytest.raises(StoreError, match=f"^layer layer: {step} failed|^{step} failed"):
            driver.get("layer")
        assert mounts.done == undone
        assert driver.counts.total("layer") == 0


def test_h3_a_chain_that_cannot_be_read_mounts_nothing(driver: WindowsFilterDriver) -> None:
    driver.create("layer")
    (driver.layer_path("layer") / "layerchain.json").write_text("?")
    with pytest.raises(FormatError):
        driver.get("layer")
    assert driver.counts.total("layer") == 0


def test_a22_h3_all_who_mount_at_once_get_the_same_path_and_wait_for_it(tmp_path: Path) -> None:
    class Slow(MergedMounts):
        def prepare(self, home: DriverHome, name: str, chain: object) -> None:
            time.sleep(0.2)
            super().prepare(home, name, chain)  # type: ignore[arg-type]

    with WindowsFilterDriver(tmp_path / "home", mounts=Slow()) as driver:
        add(driver, "base", "", BASE)
        got: list[tuple[str, bool]] = []

        def mount() -> None:
            path = driver.get("base")
            got.append((path, (Path(path) / "Files" / "a" / "x").is_file()))

        threads = [threading.Thread(target=mount) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(got)) == 1
        assert got[0][1]
        assert len(got) == driver.counts.total("base") == 6


def test_a22_without_a_mount_path_everybody_gets_the_folder(driver: WindowsFilterDriver) -> None:
    driver.create("layer")
    assert {driver.get("layer") for _ in range(3)} == {str(driver.layer_path("layer"))}


def test_a21_counts_of_a_program_end_with_it(tmp_path: Path) -> None:
    with WindowsFilterDriver(tmp_path / "home") as driver:
        driver.create("layer")
        other = WindowsFilterDriver(tmp_path / "home")
        other.get("layer")
        other.get("layer")
        driver.get("layer")
        assert driver.counts.total("layer") == 3
        other.close()
        assert driver.counts.total("layer") == 1
        with pytest.raises(StoreError, match="mounted"):
            driver.remove("layer")
        driver.put("layer")
        driver.remove("layer")


def test_a23_h3_a_put_without_a_get_is_harmless(driver: WindowsFilterDriver) -> None:
    driver.put("never")
    driver.create("layer")
    driver.put("layer")
    driver.get("layer")
    driver.put("layer")
    driver.put("layer")
    assert driver.counts.total("layer") == 0


def test_a_put_that_fails_leaves_the_layer_mounted_and_counted(tmp_path: Path) -> None:
    mounts = Failing()
    with WindowsFilterDriver(tmp_path / "home", mounts=mounts) as driver:
        driver.create("layer")
        driver.get("layer")
        mounts.step = "unprepare"
        with pytest.raises(StoreError):
            driver.put("layer")
        assert driver.counts.total("layer") == 1
        mounts.step = ""
        driver.put("layer")


def test_a_layer_is_not_mounted_in_two_ways_at_once(tmp_path: Path) -> None:
    with (
        WindowsFilterDriver(tmp_path / "home") as one,
        WindowsFilterDriver(tmp_path / "home", mounts=MergedMounts()) as other,
    ):
        add(one, "base", "", BASE)
        one.get("base")
        with pytest.raises(StoreError, match="another way"):
            other.get("base")


def test_the_merged_tree_of_a_layer_is_a_copy_and_goes_with_the_last_put(merged: WindowsFilterDriver) -> None:
    add(merged, "base", "", BASE)
    add(merged, "child", "base", NEXT)
    root = Path(merged.get("child"))
    assert tree(root) == {
        "Files": None,
        "Files/a": None,
        "Files/a/x": b"new",
        "Files/n": b"n",
    }
    assert all(path.stat().st_mode & 0o222 == 0 for path in root.rglob("*"))
    assert (root / "Files/n").stat().st_ino != (merged.layer_path("child") / "Files/n").stat().st_ino
    merged.put("child")
    assert not root.exists()


# ---------------------------------------------------------------------- diffs


def test_a24_a_diff_is_the_tar_the_layer_came_from(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "child", "base", NEXT)
    with driver.diff("child", "base") as diff:
        assert diff.read() == tar_bytes(NEXT)


def test_a24_closing_a_diff_waits_for_it(driver: WindowsFilterDriver) -> None:
    add(driver, "big", "", [folder("Files"), *(file(f"Files/{n}", os.urandom(100_000)) for n in range(20))])
    diff = driver.diff("big")
    assert len(diff.read(1000)) == 1000
    before = threading.active_count()
    diff.close()
    diff.close()
    assert threading.active_count() < before
    assert driver.remove("big").left_behind == ()


def test_a24_nobody_changes_a_layer_while_its_diff_is_read(tmp_path: Path) -> None:
    with WindowsFilterDriver(tmp_path / "home", patience=0.1) as driver:
        add(driver, "base", "", BASE)
        with driver.diff("base"), pytest.raises(StoreError, match="in use"):
            driver.remove("base")
        driver.remove("base")


def test_a24_an_error_on_the_way_reaches_who_reads(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    path = driver.layer_path("base") / "Files" / "a" / "x"
    path.chmod(0o644)
    path.write_bytes(b"changed!!!")
    with driver.diff("base") as diff, pytest.raises(DigestMismatchError):
        diff.read()


def test_a25_changes_tell_added_from_modified_and_deleted(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "child", "base", [*NEXT, HardLink("Files/l", "Files/n", Metadata(0x20))])
    assert driver.changes("base") == [Change(item.path, ChangeKind.ADDED) for item in BASE]
    assert driver.changes("child", "base") == [
        Change("Files", ChangeKind.MODIFIED),
        Change("Files/a", ChangeKind.MODIFIED),
        Change("Files/a/x", ChangeKind.MODIFIED),
        Change("Files/n", ChangeKind.ADDED),
        Change("Files/a/y", ChangeKind.DELETED),
        Change("Files/l", ChangeKind.ADDED),
    ]


def test_a26_apply_diff_gives_the_size_and_writes_the_chain_anew(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "other", "", [folder("Files")])
    driver.create("child", "other")
    applied = driver.apply_diff("child", "base", tar(NEXT))
    assert applied.size == 4
    assert chain(driver, "child") == ["base"]
    with LayerFolder(driver.layer_path("child")) as opened:
        assert opened.facts["chain_id"] == applied.chain_id
        assert verify_folder(opened) == []


def test_a26_a_diff_that_is_wrong_changes_nothing(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    driver.create("child", "base")
    before = sorted(path.name for path in driver.layer_path("child").iterdir())
    for diff, error in (
        (tar([*NEXT, file("Files/../../x")]), UnsafeEntryError),
        (tar([HardLink("Files/l", "Files/nowhere", Metadata(0x20))]), UnsafeEntryError),
    ):
        with pytest.raises(error):
            driver.apply_diff("child", "base", diff)
    with pytest.raises(DigestMismatchError):
        driver.apply_diff("child", "base", tar(NEXT), diff_id=f"sha256:{'0' * 64}")
    assert sorted(path.name for path in driver.layer_path("child").iterdir()) == before
    assert list(check_home(driver.home)) == []
    assert driver.apply_diff("child", "base", tar(NEXT)).size == 4


def test_a26_a_mounted_layer_and_one_that_others_stand_on_are_not_filled(driver: WindowsFilterDriver) -> None:
    driver.create("layer")
    driver.get("layer")
    with pytest.raises(StoreError, match="mounted"):
        driver.apply_diff("layer", "", tar(BASE))
    driver.put("layer")
    driver.apply_diff("layer", "", tar(BASE))
    add(driver, "child", "layer", NEXT)
    with pytest.raises(StoreError, match="child stands on it"):
        driver.apply_diff("layer", "", tar(BASE))
    driver.create_read_write("rw", "child")
    with pytest.raises(StoreError, match="read-write"):
        driver.apply_diff("rw", "child", tar(BASE))
    with pytest.raises(NotFoundError):
        driver.apply_diff("none", "", tar(BASE))


def test_nobody_makes_a_layer_on_one_that_is_being_filled_anew(tmp_path: Path) -> None:
    with WindowsFilterDriver(tmp_path / "home", patience=0.2) as driver:
        add(driver, "base", "", BASE)

        class Slow(io.BytesIO):
            """A tar in whose midst somebody else comes."""

            refused = 0

            def readinto(self, buffer: object) -> int:
                if not self.refused:
                    self.refused = 1
                    with pytest.raises(StoreError, match="in use"):
                        driver.create("child", "base")
                return super().readinto(buffer)  # type: ignore[arg-type]

        slow = Slow(tar_bytes(NEXT[:3]))
        driver.apply_diff("base", "", slow)
        assert slow.refused
        driver.create("child", "base")
        assert chain(driver, "child") == ["base"]


def test_a27_the_size_of_a_diff_is_that_of_its_files(merged: WindowsFilterDriver) -> None:
    size = add(merged, "base", "", BASE)
    assert size == merged.diff_size("base", "") == 12
    merged.create_read_write("rw", "base")
    assert merged.diff_size("rw", "base") == 0
    root = Path(merged.get("rw"))
    (root / "Files" / "a" / "x").write_bytes(b"1" * 1000)
    assert merged.diff_size("rw", "base") == 1000
    merged.put("rw")
    assert merged.diff_size("rw", "base") == 1000


def test_a30_h10_the_boot_configuration_is_read_as_the_layer_brought_it(driver: WindowsFilterDriver) -> None:
    parts = BCD.split("/")
    boot = folders(*("/".join(parts[:depth]) for depth in range(1, len(parts))))
    items = [
        *folders("Files"),
        *boot,
        file(BCD, b"as it came"),
        file(f"{BCD}.LOG1", b"log"),
        file("Files/f", b"f"),
        stream("Files/f", "s", b"stream"),
    ]
    add(driver, "base", "", items)
    path = driver.layer_path("base")
    assert (path / "bcd.bak").read_bytes() == b"as it came"
    assert (path / "bcd.log1.bak").read_bytes() == b"log"
    assert list(check_home(driver.home)) == []
    # A Windows host rewrites the file itself.
    (path / BCD).chmod(0o644)
    (path / BCD).write_bytes(b"rewritten")
    with driver.diff_getter("base") as getter:
        for name, content in (
            (BCD, b"as it came"),
            (BCD.upper(), b"as it came"),
            (f"{BCD}.LOG1", b"log"),
            ("Files/F", b"f"),
            ("Files/f:s", b"stream"),
        ):
            with getter.get(name) as found:
                assert found.read() == content
        for name, error in (("Files/none", NotFoundError), ("../x", UnsafeEntryError), ("Files", NotFoundError)):
            with pytest.raises(error):
                getter.get(name)


def test_a34_a_diff_against_an_older_layer_has_all_changes_since(driver: WindowsFilterDriver) -> None:
    add(driver, "base", "", BASE)
    add(driver, "child", "base", NEXT)
    add(driver, "top", "child", [folder("Files"), file("Files/t", b"t"), Tombstone("Files/n")])
    assert driver.changes("top", "base") == [
        Change("Files", ChangeKind.MODIFIED),
        Change("Files/a", ChangeKind.MODIFIED),
        Change("Files/a/x", ChangeKind.MODIFIED),
        Change("Files/a/y", ChangeKind.DELETED),
        Change("Files/t", ChangeKind.ADDED),
    ]
    with driver.diff("top", "base") as diff:
        squashed = diff.read()
    driver.create("squashed", "base")
    driver.apply_diff("squashed", "base", io.BytesIO(squashed))
    assert driver.changes("squashed", "top") == []
    assert [change.path for change in driver.changes("top", "")] == ["Files", "Files/a", "Files/a/x", "Files/t"]


def test_every_failure_is_an_error_of_this_package(driver: WindowsFilterDriver) -> None:
    for call in (
        lambda: driver.diff("gone"),
        lambda: driver.changes("gone"),
        lambda: driver.diff_size("gone"),
        lambda: driver.get("gone"),
        lambda: driver.diff_getter("gone"),
    ):
        with pytest.raises(WclayerError):
            call()
