"""Files out of an image, as plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.image.conftest import Stack
from tests.image.stacks import TIME, file, folder, folders, gone, junction, link, make_image, stream, symlink
from wclayer.errors import IntegrityError, NotFoundError, StoreError, UsageError
from wclayer.image.extract import Extracted, extract
from wclayer.image.target import open_view
from wclayer.model import LayerItem


def written(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


BASE: list[LayerItem] = [
    *folders("Files", "Files/d", "Files/d/empty"),
    file("Files/d/a.txt", b"a"),
    stream("Files/d/a.txt", "Zone", b"zone"),
    file("Files/d/B.TXT", b"b"),
    file("Files/no stream", None),
    file("Hives/h", b"hive"),
]


def test_a_folder_is_copied_with_all_that_is_in_it(stack: Stack, tmp_path: Path) -> None:
    view = stack(BASE, [file("Files/d/new", b"n"), gone("Files/d/b.txt")])
    result = extract(view, ["C:\\D"], tmp_path / "out")
    assert written(tmp_path / "out") == {"d/a.txt": b"a", "d/new": b"n"}
    assert (tmp_path / "out/d/empty").is_dir()
    assert (result.files, result.folders, result.size, result.left_out) == (["d/a.txt", "d/new"], 2, 2, [])


def test_patterns_in_any_case_and_several_at_once(stack: Stack, tmp_path: Path) -> None:
    view = stack(BASE)
    extract(view, ["**/*.txt", "HIVES/*", "d/A.TXT", "no stream"], tmp_path)
    assert written(tmp_path) | {} == {"d/a.txt": b"a", "d/B.TXT": b"b", "Hives/h": b"hive", "no stream": b""} | {
        path: data for path, data in written(tmp_path).items() if path.startswith(("layout", "unpacked"))
    }


def test_flat_drops_the_folders(stack: Stack, tmp_path: Path) -> None:
    result = extract(stack(BASE), ["d"], tmp_path / "out", flat=True)
    assert written(tmp_path / "out") == {"a.txt": b"a", "B.TXT": b"b"}
    assert result.folders == 0


def test_two_files_of_one_name_are_not_written_over_each_other(stack: Stack, tmp_path: Path) -> None:
    view = stack([file("Files/a/x", b"1"), file("Files/b/x", b"2")])
    with pytest.raises(UsageError, match=r"C:\\a\\x and C:\\b\\x would both become x"):
        extract(view, ["**/x"], tmp_path / "out", flat=True, force=True)
    assert written(tmp_path / "out") == {}


def test_streams_become_files_beside_theirs(stack: Stack, tmp_path: Path) -> None:
    view = stack([*BASE, folder("Files/s"), stream("Files/s", "of a folder", b"f")])
    extract(view, ["d/a.txt", "s"], tmp_path / "out", streams=True)
    assert written(tmp_path / "out") == {"d/a.txt": b"a", "d/a.txt:Zone": b"zone", "s:of a folder": b"f"}


def test_names_of_one_file_are_names_of_one_file(stack: Stack, tmp_path: Path) -> None:
    view = stack(
        [file("Files/a", b"data"), stream("Files/a", "s", b"s")],
        [link("Files/b", "Files/a"), link("Files/c", "Files/b"), symlink("Files/d", "c")],
    )
    result = extract(view, ["*"], tmp_path / "out", streams=True)
    names = ["a", "a:s", "b", "b:s", "c", "c:s", "d", "d:s"]
    assert written(tmp_path / "out") == {name: b"s" if ":" in name else b"data" for name in names}
    assert len({os.stat(tmp_path / "out" / name).st_ino for name in names}) == 2
    assert (result.files, result.linked, result.size) == (names, 6, 5)


def test_where_the_file_system_has_no_links_there_are_copies(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = stack([file("Files/a", b"data"), link("Files/b", "Files/a")])
    monkeypatch.setattr("wclayer.formats.folder.door.Door.link", lambda *_, **__: False)
    result = extract(view, ["*"], tmp_path / "out")
    assert written(tmp_path / "out") == {"a": b"data", "b": b"data"}
    assert (result.linked, result.size) == (0, 8)


def test_links_that_cannot_be_files_are_left_out_and_listed(stack: Stack, tmp_path: Path) -> None:
    items = [symlink("Files/nowhere", "x"), junction("Files/folder", "C:\\d"), symlink("Files/share", "\\\\s\\x")]
    result = extract(stack([*BASE, *items]), ["*"], tmp_path / "out")
    assert [path for path, _ in result.left_out] == ["C:\\folder", "C:\\nowhere", "C:\\share"]
    assert "a link to the folder C:\\d" in result.left_out[0][1]


def test_a_name_this_machine_cannot_hold_is_left_out_and_listed(stack: Stack, tmp_path: Path) -> None:
    long = "字" * 200
    view = stack(
        [file(f"Files/{long}", b"x"), file("Files/a", b"a"), folder(f"Files/f{long}"), link("Files/b", "Files/" + long)]
    )
    result = extract(view, ["*"], tmp_path / "out")
    assert written(tmp_path / "out") == {"a": b"a", "b": b"x"}
    assert [path for path, _ in result.left_out] == [f"f{long}", long]


def test_times_are_those_of_the_last_write(stack: Stack, tmp_path: Path) -> None:
    extract(stack([file("Files/a", at=TIME + 1234567)]), ["a"], tmp_path / "out")
    assert os.stat(tmp_path / "out/a").st_mtime_ns == 1577836800 * 10**9 + 123456700


def test_files_that_are_there_stay_unless_forced(stack: Stack, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a").write_bytes(b"mine")
    view = stack([file("Files/a", b"theirs")])
    with pytest.raises(UsageError, match="has that file already"):
        extract(view, ["a"], output)
    assert written(output) == {"a": b"mine"}
    other_name = tmp_path / "other name"
    os.link(output / "a", other_name)
    extract(view, ["a"], output, force=True)
    assert written(output) == {"a": b"theirs"}
    assert other_name.read_bytes() == b"mine"


def test_links_in_the_output_folder_are_not_followed(stack: Stack, tmp_path: Path) -> None:
    output, outside = tmp_path / "out", tmp_path / "outside"
    output.mkdir()
    outside.mkdir()
    (output / "d").symlink_to(outside)
    (output / "f").symlink_to(outside / "f")
    view = stack([file("Files/d/a", b"a"), file("Files/f", b"f")])
    with pytest.raises(StoreError):
        extract(view, ["d"], output, force=True)
    extract(view, ["f"], output, force=True)
    assert (output / "f").read_bytes() == b"f"
    assert not (output / "f").is_symlink()
    assert list(outside.iterdir()) == []


def test_nothing_found_writes_nothing(stack: Stack, tmp_path: Path) -> None:
    view = stack(BASE)
    for pattern in ("nothing*", "nothing"):
        with pytest.raises(NotFoundError):
            extract(view, ["d", pattern], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_fails_half_way_leaves_no_half_file(tmp_path: Path) -> None:
    reference = make_image(tmp_path / "layout", [file("Files/a", b"x" * 100_000)], compression="none")
    with open_view(reference) as view:
        (blob,) = (path for path in (tmp_path / "layout/blobs/sha256").iterdir() if path.stat().st_size > 50_000)
        os.truncate(blob, 50_000)
        with pytest.raises(IntegrityError):
            extract(view, ["a"], tmp_path / "out")
    assert written(tmp_path / "out") == {}


def test_each_layer_is_read_once_for_all_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [file(f"Files/{number}", b"%d" % number) for number in range(20)]
    links = [link(f"Files/l{number}", f"Files/{number}") for number in range(20)]
    passes: list[int] = []
    with open_view(make_image(tmp_path / "layout", names, links)) as view:
        from wclayer.image.scanned import ScannedLayer

        original = ScannedLayer._pass

        def counted(self: ScannedLayer, wanted: object) -> None:
            passes.append(1)
            original(self, wanted)  # type: ignore[arg-type]

        monkeypatch.setattr(ScannedLayer, "_pass", counted)
        result: Extracted = extract(view, ["*"], tmp_path / "out")
    assert (len(result.files), len(passes)) == (40, 1)
