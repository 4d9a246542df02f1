"""Little that becomes much: compressed bombs are stopped early, and leave nothing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

import wclayer.oci.limits
from tests.hostile.command import INTEGRITY
from tests.hostile.images import Layout, packed
from tests.hostile.tars import FILE, base256, file, folder, header, layer
from tests.hostile.world import World
from wclayer.oci import Limits
from wclayer.oci.engines import zstd

MB = 1 << 20


def _bomb(compression: str, megabytes: int) -> bytes:
    """A layer with one file of zeros, compressed piece by piece."""
    head = folder("Files") + header(b"Files/zeros", FILE, size=base256(megabytes * MB, 12))
    pieces = (head, *([bytes(MB)] * megabytes), bytes(1024))
    if compression == "gzip":
        deflate = zlib.compressobj(9, wbits=31)
        return b"".join([deflate.compress(piece) for piece in pieces]) + deflate.flush()
    squeeze = zstd.ZstdCompressor(level=3)
    return b"".join([squeeze.compress(piece) for piece in pieces]) + squeeze.flush()


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits as they are, for smaller bombs."""
    defaults = list(Limits.__init__.__defaults__ or ())
    place = [field.name for field in dataclasses.fields(Limits)].index("ratio_after")
    defaults[place] = 4 * MB
    monkeypatch.setattr(Limits.__init__, "__defaults__", tuple(defaults))
    # The defaults of functions are one frozen value each.
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("wclayer"):
            for thing in vars(module).values():
                for holder in (thing, *(vars(thing).values() if isinstance(thing, type) else ())):
                    _lower(holder, monkeypatch)
    assert wclayer.oci.limits.Limits().ratio_after == 4 * MB


def _lower(function: object, monkeypatch: pytest.MonkeyPatch) -> None:
    known = getattr(function, "__kwdefaults__", None) or {}
    for name, value in known.items():
        if isinstance(value, Limits):
            monkeypatch.setitem(known, name, Limits())


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.usefixtures("low_limits")
def test_import_stops_a_bomb(compression: str, world: World) -> None:
    world.import_refused(_bomb(compression, 24), "bomb", "layer.tar")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.usefixtures("low_limits")
def test_unpack_stops_a_bomb(compression: str, world: World) -> None:
    image = Layout([b""], blobs=[_bomb(compression, 24)])
    world.refused("unpack", image.write(world.root / "image"), world.destination, mentions=["bomb", "layer 1 of 1"])


@pytest.mark.usefixtures("low_limits")
def test_an_archive_of_an_image_may_not_be_a_bomb_either(world: World) -> None:
    deflate = zlib.compressobj(9, wbits=31)
    source = world.root / "image.tar.gz"
    source.write_bytes(
        deflate.compress(header(b"x", size=24 * MB)) + deflate.compress(bytes(24 * MB)) + deflate.flush()
    )
    for transport in ("docker-archive", "oci-archive"):
        world.refused("unpack", f"{transport}:{source}", world.destination, mentions=["bomb"])


def test_what_is_allowed_to_be_large_is_large(world: World) -> None:
    source = world.root / "layer.tar.gz"
    source.write_bytes(_bomb("gzip", 24))
    assert world.command("import", source, world.destination).code == 0
    assert (world.destination / "Files" / "zeros").stat().st_size == 24 * MB


@pytest.mark.slow
def test_a_bomb_of_real_size_is_stopped_in_time_and_in_little_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte, with the limits that everybody has."""
    source = tmp_path / "layer.tar.gz"
    head = folder("Files") + header(b"Files/zeros", FILE, size=base256(1024 * MB, 12))
    source.write_bytes(packed(head) + packed(bytes(64 * MB)) * 16 + packed(bytes(1024)))
    # The peak of this process alone: ru_maxrss would count what its parent held when it was forked.
    script = (
        "import sys; from pathlib import Path; from wclayer.cli.main import main; code = main(sys.argv[1:]);"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0]); raise SystemExit(code)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, "import", source, tmp_path / "work" / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == INTEGRITY, done
    assert "bomb" in done.stderr
    assert int(done.stdout) < 200 * 1024  # KiB
    assert time.monotonic() - started < 60  # on a machine with nothing else to do it is one second
    assert not (tmp_path / "work" / "out").exists()


def test_tiny_records_cost_little(world: World) -> None:
    """A megabyte of records is the most there may be, and it may be made of the smallest there are."""
    from tests.hostile.tars import extended

    source = world.root / "layer.tar"
    source.write_bytes(layer(*(extended(b"5 a=\n" * 209_000) + header(b"Files/x%d" % number) for number in range(4))))
    started = time.monotonic()
    assert world.command("import", source, world.destination).code == 0
    assert time.monotonic() - started < 20


def test_many_extended_headers_before_one_entry_cost_no_memory(world: World) -> None:
    from tests.hostile.tars import extended

    source = world.root / "layer.tar"
    source.write_bytes(layer(extended({"comment": "c" * 100_000}) * 200, file("Files/x")))
    assert world.command("import", source, world.destination).code == 0
