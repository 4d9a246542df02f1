"""The archives that are written: their form, the same bytes each time, and nothing half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.image.copying.places import Places, contents, loaded, members, root_digest, windows_index
from tests.oci.samples import WINDOWS, layer_tar, old_docker_archive, write_image
from wclayer.errors import DigestMismatchError, UsageError, WclayerError
from wclayer.image.copying import CopyOptions, copy_image
from wclayer.oci import open_image
from wclayer.oci.archive_writer import ArchiveWriter

LAYERS = [layer_tar("base"), layer_tar("top"), layer_tar("base")]


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_image(tmp_path / "source", LAYERS, name="t", entry_platform=WINDOWS)
    return f"oci:{tmp_path / 'source'}:t"


def path_of(reference: str) -> Path:
    return Path(reference.split(":")[1])


@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_the_same_image_gives_the_same_bytes_also_as_a_stream(kind: str, source: str, places: Places) -> None:
    first, second = places.new(kind), places.new(kind)
    copy_image(source, first)
    copy_image(source, second)
    assert path_of(first).read_bytes() == path_of(second).read_bytes()
    code = "import sys; from wclayer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    to = f"{kind}:-:t" if kind == "oci-archive" else f"{kind}:-:example.com/app:1"
    done = subprocess.run([sys.executable, "-c", code, "copy", source, to], check=True, capture_output=True)
    assert done.stdout == path_of(first).read_bytes()
    assert b"blobs" in done.stderr


def test_members_have_one_time_one_owner_and_no_write_permission(
    source: str, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("oci-archive", "docker-archive"):
        for time in (0, 1_600_000_000):
            monkeypatch.setenv("SOURCE_DATE_EPOCH", str(time))
            target = places.new(kind)
            copy_image(source, target)
            with tarfile.open(path_of(target)) as tar:
                found = tar.getmembers()
            assert {(one.mtime, one.uid, one.gid, one.uname, one.gname) for one in found} == {(time, 0, 0, "", "")}
            assert {oct(one.mode) for one in found if one.isfile()} == {"0o444"}
            assert path_of(target).stat().st_size % 10240 == 0


def test_an_archive_of_docker_is_what_docker_save_writes_now(source: str, places: Places) -> None:
    target = places.new("docker-archive")
    result = copy_image(source, target)
    path = path_of(target)
    config, base, top, _ = contents(source)["10.0.20348.2700"]
    (line,) = loaded(path, "manifest.json")
    assert line == {
        "Config": f"blobs/sha256/{config[7:]}",
        "RepoTags": ["example.com/app:1"],
        "Layers": [f"blobs/sha256/{diff_id[7:]}" for diff_id in (base, top, base)],
    }
    assert loaded(path, "repositories") == {"example.com/app": {"1": base[7:]}}
    assert loaded(path, "oci-layout") == {"imageLayoutVersion": "1.0.0"}
    (entry,) = loaded(path, "index.json")["manifests"]
    assert entry["digest"] == str(result.digest)
    assert entry["annotations"] == {
        "io.containerd.image.name": "example.com/app:1",
        "org.opencontainers.image.ref.name": "1",
    }
    found = members(path)
    assert found[line["Layers"][0]] == LAYERS[0]
    manifest = json.loads(found[f"blobs/sha256/{result.digest.hex}"])
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert all(layer["digest"].replace("sha256:", "blobs/sha256/") in found for layer in manifest["layers"])


def test_names_of_docker_hub_are_short_in_the_list_and_whole_in_the_index(source: str, places: Places) -> None:
    path = places.folder / "hub.tar"
    copy_image(source, f"docker-archive:{path}:app:1")
    assert loaded(path, "manifest.json")[0]["RepoTags"] == ["app:1"]
    annotations = loaded(path, "index.json")["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == "docker.io/library/app:1"
    with open_image(f"docker-archive:{path}:app:1") as image:
        assert image.platform == WINDOWS


def test_an_image_without_a_name_is_listed_all_the_same(source: str, places: Places) -> None:
    path = places.folder / "nameless.tar"
    copy_image(source, f"docker-archive:{path}")
    assert loaded(path, "manifest.json")[0]["RepoTags"] is None
    assert len(loaded(path, "index.json")["manifests"]) == 1
    assert "repositories" not in members(path)
    assert contents(f"docker-archive:{path}") == contents(source) == contents(f"oci-archive:{path}")


def test_a_name_that_docker_cannot_give_is_refused_before_anything_is_written(source: str, places: Places) -> None:
    path = places.folder / "bad.tar"
    with pytest.raises(UsageError):
        copy_image(source, f"docker-archive:{path}:app/UPPER:1")
    assert not path.exists()


def test_an_old_archive_becomes_an_image_with_a_manifest(places: Places) -> None:
    path = places.folder / "old.tar"
    path.write_bytes(old_docker_archive(LAYERS, tags=["app:1"], duplicate=False))
    for kind in ("oci", "oci-archive", "dir", "registry", "docker-archive", "store"):
        target = places.new(kind)
        copy_image(f"docker-archive:{path}", target)
        assert contents(target) == contents(f"docker-archive:{path}")


def test_an_archive_comes_through_a_pipe(source: str, places: Places) -> None:
    archive, target = places.new("oci-archive"), places.new("oci")
    copy_image(source, archive)
    code = "import sys; from wclayer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with path_of(archive).open("rb") as file:
        subprocess.run([sys.executable, "-c", code, "copy", "-", target], check=True, stdin=file, capture_output=True)
    assert root_digest(target) == root_digest(source)


def test_an_archive_that_was_there_stays_when_nothing_comes_of_the_new_one(source: str, places: Places) -> None:
    layout = places.folder / "source"
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    for kind in ("oci-archive", "docker-archive"):
        target = places.new(kind)
        path_of(target).write_bytes(b"what was there")
        with pytest.raises(WclayerError) as caught:
            copy_image(source, target)
        assert caught.value.exit_code == 6
        assert path_of(target).read_bytes() == b"what was there"
    for kind in ("oci-archive", "docker-archive", "oci", "dir"):
        target = places.new(kind)
        with pytest.raises(DigestMismatchError):
            copy_image(source, target)
        with pytest.raises(WclayerError):
            root_digest(target)
    hidden = [path.name for path in places.folder.iterdir() if path.name.startswith(".")]
    assert hidden == []


def test_a_folder_that_holds_something_else_is_left_alone(source: str, places: Places) -> None:
    folder = places.folder / "mine"
    folder.mkdir()
    (folder / "precious.txt").write_text("mine")
    with pytest.raises(WclayerError, match=r"precious\.txt"):
        copy_image(source, f"dir:{folder}")
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]


def test_a_folder_becomes_another_image_and_keeps_nothing_of_the_old_one(source: str, places: Places) -> None:
    windows_index(places.folder / "index")
    target, fresh = places.new("dir"), places.new("dir")
    copy_image(f"oci:{places.folder / 'index'}:all", target, CopyOptions(all_platforms=True))
    copy_image(source, target)
    copy_image(source, fresh)
    assert {path.name for path in path_of(target).iterdir()} == {path.name for path in path_of(fresh).iterdir()}
    assert root_digest(target) == root_digest(source)


def test_two_at_once_do_not_write_to_one_plain_folder(source: str, places: Places) -> None:
    from wclayer.oci.dir_writer import DirWriter

    folder = places.folder / "busy"
    writer = DirWriter(folder)
    with pytest.raises(WclayerError, match="another process"):
        copy_image(source, f"dir:{folder}")
    writer.close()
    copy_image(source, f"dir:{folder}")


# ------------------------------------------------------------------------------------------------------- the writer


def written(fill: Callable[[ArchiveWriter], None], *, stream: bool, folder: Path) -> bytes:
    path = folder / "out.tar"
    with path.open("wb", buffering=0) as file:
        writer = ArchiveWriter(file, stream=stream)
        fill(writer)
        writer.finish()
    return path.read_bytes()


@pytest.mark.parametrize("stream", [False, True], ids=["file", "stream"])
def test_members_of_known_and_unknown_size(stream: bool, tmp_path: Path) -> None:
    def fill(writer: ArchiveWriter) -> None:
        writer.add_folder("d")
        writer.add("empty", b"")
        first, second = writer.reserve("first", 700), writer.reserve("second", 512)
        if stream:
            first.write(b"a" * 700)
            second.write(b"b" * 512)
        else:  # in any order
            second.write(b"b" * 512)
            first.write(b"a" * 300)
            first.write(b"a" * 400)
        with writer.append("grown") as grown:
            for _ in range(5):
                grown.write(b"c" * 1000)
        writer.add("after", b"x")

    whole = written(fill, stream=stream, folder=tmp_path)
    with tarfile.open(fileobj=BytesIO(whole)) as tar:
        found = [(one.name, one.isdir(), one.size) for one in tar]
        assert found == [
            ("d", True, 0),
            ("empty", False, 0),
            ("first", False, 700),
            ("second", False, 512),
            ("grown", False, 5000),
            ("after", False, 1),
        ]
        grown = tar.extractfile("grown")
        assert grown is not None
        assert grown.read() == b"c" * 5000
    assert len(whole) % 10240 == 0


def test_the_size_of_a_member_beyond_eight_gibibytes(tmp_path: Path) -> None:
    size = (8 << 30) + 5
    path = tmp_path / "sparse.tar"
    with path.open("wb", buffering=0) as file:
        writer = ArchiveWriter(file)
        writer.reserve("big", size)  # left as a hole
        writer.add("after", b"x")
        writer.finish()
    with tarfile.open(path) as tar:
        assert [(one.name, one.size) for one in tar] == [("big", size), ("after", 1)]
    listing = subprocess.run(["tar", "-tvf", path], check=True, capture_output=True, text=True).stdout
    assert str(size) in listing


def test_a_member_of_another_size_than_announced_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("wb", buffering=0) as file:
        writer = ArchiveWriter(file)
        with pytest.raises(WclayerError, match="announced"), writer.reserve("short", 5) as member:
            member.write(b"1234")
        with pytest.raises(WclayerError, match="announced"), writer.reserve("long", 5) as member:
            member.write(b"123456")


def test_a_reader_that_goes_away_is_no_error(source: str) -> None:
    code = "import sys; from wclayer.cli.main import main; sys.exit(main(sys.argv[1:]))"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", code, "copy", source, "-"], check=False, stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
