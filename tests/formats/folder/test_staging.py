"""A layer folder is whole or absent, whatever happens while it grows."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.formats.folder.layers import file, folder, tree, write
from wclayer.errors import NotFoundError
from wclayer.formats.folder import (
    LayerFolder,
    LayerFolderReader,
    LayerFolderWriter,
    remove_layer_folder,
    sweep,
    verify_folder,
)

WRITE_LAYERS = """
import sys
from pathlib import Path
from wclayer.formats.folder import LayerFolderWriter
from wclayer.model import AlternateStream, Entry, HardLink, Metadata, Stream
for number in range(1000):
    with LayerFolderWriter(Path(sys.argv[1]) / f"layer{number}") as writer:
        record = writer.header_record()
        for entry in range(60):
            path = f"Files/{entry % 7}/{entry}"
            writer.write(Entry(path, Metadata(), data=Stream.from_bytes(bytes(5000)), ordinal=entry))
            record.segment(b"header" * 100)
            record.body(entry, 0, 5000)
            writer.write(AlternateStream(path, ":s:$DATA", Stream.from_bytes(bytes(70000))))
            writer.write(HardLink(path + "l", path))
    print(number, flush=True)
"""


def staging_in(path: Path) -> list[Path]:
    return [entry for entry in path.iterdir() if ".wclayer-" in entry.name]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_process_killed_at_any_moment_leaves_whole_layers_and_what_a_sweep_removes(tmp_path: Path, seed: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE_LAYERS, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(random.Random(seed).random() * 0.2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    leftovers = staging_in(tmp_path)
    assert sorted(sweep(tmp_path)) == sorted(leftovers)
    assert len(leftovers) <= 1
    layers = list(tmp_path.iterdir())
    assert layers
    for layer in layers:
        with LayerFolder(layer) as opened:
            assert verify_folder(opened) == []
            assert sum(1 for _ in LayerFolderReader(opened)) == 180


def test_a_sweep_leaves_a_living_staging_folder_alone(tmp_path: Path) -> None:
    writer = LayerFolderWriter(tmp_path / "layer")
    writer.write(file("a"))
    assert sweep(tmp_path) == []
    (staging,) = staging_in(tmp_path)
    assert (staging / "a").exists()
    writer.commit()
    assert sweep(tmp_path) == []
    assert [entry.name for entry in tmp_path.iterdir()] == ["layer"]


def test_a_sweep_touches_nothing_else(tmp_path: Path) -> None:
    kept = [".hidden", ".layer.wclayer-12", "layer.wclayer-0123456789abcdef", ".a.wclayer-0123456789abcdeg"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / ".file.wclayer-0123456789abcdef").write_text("x")
    (tmp_path / ".link.wclayer-0123456789abcdef").symlink_to(".hidden")
    before = tree(tmp_path)
    assert sweep(tmp_path) == []
    assert tree(tmp_path) == before
    (tmp_path / ".layer.wclayer-0123456789abcdef/read-only").mkdir(parents=True)
    assert [path.name for path in sweep(tmp_path)] == [".layer.wclayer-0123456789abcdef"]
    assert tree(tmp_path) == before


def test_where_folders_cannot_be_locked_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_descriptor: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    (tmp_path / ".layer.wclayer-0123456789abcdef").mkdir()
    monkeypatch.setattr(fcntl, "flock", refused)
    assert sweep(tmp_path) == []
    write(tmp_path / "layer", file("a"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_long_name_of_a_layer_leaves_room_for_that_of_its_staging(tmp_path: Path) -> None:
    write(tmp_path / ("ä" * 127), file("a"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["ä" * 127]


def test_two_writers_of_one_layer_do_not_meet(tmp_path: Path) -> None:
    first, second = LayerFolderWriter(tmp_path / "layer"), LayerFolderWriter(tmp_path / "layer")
    first.write(file("a"))
    second.write(file("b"))
    second.commit()
    first.abort()
    assert tree(tmp_path / "layer") == {"b", "layer.db", "layerchain.json"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["layer"]


def test_a_layer_is_removed_read_only_and_deep_as_it_is(tmp_path: Path) -> None:
    path = write(
        tmp_path / "layer", folder("Files"), *(file("d/" * n + str(n)) for n in range(1, 400)), file("Files/a")
    )
    (tmp_path / "kept").write_text("x")
    path.chmod(0o755)
    (path / "link").symlink_to(tmp_path)
    remove_layer_folder(path)
    assert tree(tmp_path) == {"kept"}
    with pytest.raises(NotFoundError):
        remove_layer_folder(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process of another user")
def test_a_user_without_privileges_can_remove_what_is_read_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    for part in (*tmp_path.parents, tmp_path):
        if part.stat().st_uid == os.geteuid() and part != Path("/") and not part.stat().st_mode & 0o001:
            part.chmod(part.stat().st_mode | 0o055)
    program = """
import os, sys
sys.path[:0] = sys.argv[2].split(os.pathsep)
from pathlib import Path
from wclayer.formats.folder import LayerFolderWriter, remove_layer_folder
from wclayer.errors import WclayerError
from wclayer.model import Entry, HardLink, Metadata, Stream
os.setgroups([]); os.setgid(65534); os.setuid(65534)
home = Path(sys.argv[1])
items = [Entry(f"a/{n}/b", Metadata(), data=Stream.from_bytes(b"x")) for n in range(20)]
for name in ("first", "second"):
    with LayerFolderWriter(home / name) as writer:
        for item in items: writer.write(item)
        writer.write(HardLink("link", "a/1/b"))
try:
    os.unlink(home / "first/a/1/b")
except PermissionError:
    pass
else:
    sys.exit("the layer can be changed")
remove_layer_folder(home / "first")
try:
    with LayerFolderWriter(home / "third") as writer:
        for item in items: writer.write(item)
        writer.write(HardLink("link", "nowhere"))
except WclayerError:
    pass
print(sorted(os.listdir(home)))
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(home), os.pathsep.join(sys.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("['second']\n", "")
