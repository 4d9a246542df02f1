"""Blobs of gigabytes: little memory, and little of them twice, whatever kills the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.origin import Bytes, Endless, Origin
from tests.faults.wire import Server
from tests.registries.content import WINDOWS
from wclayer.oci.content.journal import read_journal
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

REPOSITORY = "large/image"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where gigabytes may lie for a moment: in memory where that is possible."""
    shared = Path("/dev/shm")
    place = shared / f"wclayer-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path / "large"
    place.mkdir()
    try:
        yield place
    finally:
        subprocess.run(["rm", "-rf", str(place)], check=True)


def image_of(layer: Endless) -> Origin:
    """A registry with an image of one layer."""
    config = Bytes(encode_config(WINDOWS, [layer.digest]))
    origin = Origin(layer, config, repository=REPOSITORY)
    descriptors = [Descriptor(OCI_CONFIG, config.digest, config.size), Descriptor(OCI_LAYER, layer.digest, layer.size)]
    origin.put_manifest(REPOSITORY, "latest", OCI_MANIFEST, encode_manifest(descriptors[0], descriptors[1:]))
    return origin


def pulling(server: Server, store: Path) -> list[str]:
    """The command that pulls that image."""
    program = [sys.executable, "-m", "wclayer", "pull", f"{server.host}/{REPOSITORY}:latest"]
    return [*program, "--plain-http", "--anonymous", "--proxy", "", "--store", str(store), "--progress", "none"]


@pytest.mark.slow
def test_two_gigabytes_take_less_than_150_mebibytes_of_memory(folder: Path) -> None:
    layer = Endless(2_000_000_000)
    measured = ["/usr/bin/time", "-f", "peak %M KiB, %U s and %S s of processor time"]
    with Server(image_of(layer)) as server:
        done = subprocess.run([*measured, *pulling(server, folder)], check=True, capture_output=True, text=True)
    print(f"\n2 GB: {done.stderr.splitlines()[-1]}")
    assert (folder / layer.digest.blob_path).stat().st_size == layer.size
    found = re.search(r"peak (\d+) KiB", done.stderr)
    assert found
    assert int(found[1]) < 150 * 1024


class Halting(Server):
    """Sends so many bytes of bodies and then waits, so that quick and slow programs are killed at the same place."""

    stop_at = 1 << 62

    def count(self, sent: int) -> None:
        super().count(sent)
        while self.bytes_sent > self.stop_at:
            self.sleep(0.01)


@pytest.mark.slow
def test_a_pull_killed_at_99_percent_fetches_less_than_2_percent_again(folder: Path) -> None:
    layer = Endless(1_000_000_000)
    with Halting(image_of(layer)) as server:
        server.stop_at = 995 * layer.size // 1000
        with subprocess.Popen(pulling(server, folder), stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            try:
                while arrived(folder) < 0.99 * layer.size:
                    assert process.poll() is None, "it ended before it could be killed"
                    assert time.monotonic() < deadline, f"only {arrived(folder)} bytes arrived"
                    time.sleep(0.01)
            finally:
                process.send_signal(signal.SIGKILL)
        first = server.bytes_sent
        assert not (folder / layer.digest.blob_path).exists()
        server.stop_at = Halting.stop_at
        subprocess.run(pulling(server, folder), check=True, stdout=subprocess.DEVNULL)
        again = server.bytes_sent - first
    print(f"\nkilled after {first / layer.size:.2%} of 1 GB, fetched again {again / layer.size:.2%}")
    assert again < 0.02 * layer.size
    assert first + again < 1.02 * layer.size
    assert (folder / layer.digest.blob_path).stat().st_size == layer.size


def arrived(store: Path) -> int:
    """How much of the layer is known to be there, in whatever order it came."""
    known = (read_journal(path) for path in (store / "ingest").glob("sha256-*") if not path.suffix)
    return max((extents.total for extents in known if extents), default=0)
