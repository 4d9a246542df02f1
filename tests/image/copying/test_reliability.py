"""Killed at any moment, on a full disk, with a gigabyte: a destination has the old state or the new one, never half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile.command import require_root
from tests.image.copying.places import Places, contents, root_digest
from tests.oci.samples import WINDOWS, tar, write_image
from wclayer.errors import StoreError, WclayerError
from wclayer.image.copying import copy_image
from wclayer.oci import Descriptor, Digest, LayoutWriter
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER

MB = 1 << 20
LOCAL = ("oci", "oci-archive", "docker-archive", "dir", "store")
COPY = (
    "import sys; from wclayer.cli.main import main; code = main(sys.argv[1:]);"
    "print([l for l in open('/proc/self/status') if l.startswith('VmHWM')][0].split()[1], file=sys.stderr);"
    "sys.exit(code)"
)


def large_image(layout: Path, size: int, *, name: str = "t") -> str:
    """An image with one layer of ``size`` bytes that does not compress, kept uncompressed; and its reference."""
    writer = LayoutWriter(layout)
    head = tar([("Files", None)])[:512]
    block = random.Random(size).randbytes(MB)
    file_size = size - 2048
    member = tar([("Files/big", b"")])[:512]
    member = _sized(member, file_size)

    def pieces() -> Iterator[bytes]:
        yield head + member
        for number in range(file_size // MB):
            yield number.to_bytes(8, "big") + block[8:]
        yield bytes(file_size % MB + (-file_size % 512) + 1024)

    with writer.new_layer("none") as sink:
        sink.write_all(pieces())
    config = writer.put_bytes(encode_config(WINDOWS, [sink.diff_id]), OCI_CONFIG)
    layer = Descriptor(OCI_LAYER, sink.descriptor.digest, sink.descriptor.size)
    writer.put_manifest(encode_manifest(config, [layer]), name=name, platform=WINDOWS)
    return f"oci:{layout}:{name}"


def _sized(header: bytes, size: int) -> bytes:
    text = bytearray(header)
    text[124:136] = b"%011o\0" % size
    text[148:156] = b" " * 8
    text[148:156] = b"%06o\0 " % sum(text)
    return bytes(text)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of 48 MiB."""
    return large_image(tmp_path_factory.mktemp("large"), 48 * MB)


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", COPY, *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def path_of(reference: str) -> Path:
    return Path(os.environ["WCLAYER_STORE"]) if reference.startswith("store:") else Path(reference.split(":")[1])


def present(reference: str) -> Digest | None:
    try:
        return root_digest(reference)
    except WclayerError:
        return None


def used(path: Path) -> int:
    """Bytes that a place has on disk so far, hidden ones included."""
    around = [path, *path.parent.glob(f".{path.name}.*")]
    total = 0
    for one in around:
        try:
            total += sum(file.stat().st_size for file in ([one] if one.is_file() else one.rglob("*")) if file.is_file())
        except FileNotFoundError:
            continue
    return total


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOCAL)
def test_kill_at_any_moment_and_the_next_run_completes_it(kind: str, source: str, places: Places) -> None:
    """Killed when the first, the middle and the last bytes were written."""
    digest = None if kind == "docker-archive" else root_digest(source)
    for share in (0.01, 0.5, 0.97):
        target = places.new(kind)
        killed = False
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            process = start("copy", source, target)
            while process.poll() is None and used(path_of(target)) < share * 48 * MB:
                time.sleep(0.0005)
            killed = process.poll() is None
            process.send_signal(signal.SIGKILL)
            process.communicate()
            if present(target) is not None:
                assert contents(target) == contents(source)  # it was complete already
                target, killed = places.new(kind), False
        assert killed
        assert present(target) is None
        result = copy_image(source, target)
        assert digest in (None, result.digest)
        assert contents(target) == contents(source)
        leftovers = [path.name for path in (*places.folder.glob(".place*"), *path_of(target).glob(".wclayer-*"))]
        assert leftovers == []


@pytest.mark.slow
def test_a_killed_copy_from_a_registry_goes_on_where_it_stopped(source: str, places: Places) -> None:
    reference = places.new("registry")
    copy_image(source, reference)
    for kind in ("oci", "dir"):
        folder, resumed = Path(), False
        deadline = time.monotonic() + 60
        while not resumed and time.monotonic() < deadline:
            target = places.new(kind)
            folder = path_of(target)
            process = start("copy", reference, target)
            while process.poll() is None and used(folder) < 24 * MB:
                time.sleep(0.0005)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            resumed = present(target) is None and any(folder.glob(".wclayer-partial-*.journal"))
        assert resumed
        from wclayer.oci.content.partial import PartialBlob

        (journal,) = folder.glob(".wclayer-partial-*.journal")
        layer = next(d for d in sizes(source) if d[1] > MB)
        partial = PartialBlob(journal.with_suffix(""), layer[0], layer[1])
        had = partial.present
        partial.close()
        assert had > 12 * MB
        copy_image(reference, target)
        assert contents(target) == contents(source)
        assert [path.name for path in folder.glob(".wclayer-*")] == []


def sizes(reference: str) -> list[tuple[Digest, int]]:
    from tests.image.copying.places import document
    from wclayer.oci import Manifest

    manifest = document(reference)
    assert isinstance(manifest, Manifest)
    return [(layer.digest, layer.size) for layer in manifest.layers]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes."""
    require_root()
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir"])
@pytest.mark.parametrize("size", [64 << 10, 8 * MB, 40 * MB])
def test_a_full_disk_is_an_error_and_leaves_no_image(kind: str, size: int, source: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        places = Places(disk, "", "")
        target = places.new(kind)
        with pytest.raises(StoreError, match="No space left") as caught:
            copy_image(source, target)
        assert caught.value.exit_code == 8
        assert present(target) is None
        hidden = [path.name for path in disk.rglob(".*")]
        assert hidden == []
        status = os.statvfs(disk)
        assert (status.f_blocks - status.f_bfree) * status.f_frsize < 64 << 10  # nothing of the layer is left


@pytest.fixture(scope="module")
def gigabyte(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of one gigabyte."""
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else tmp_path_factory.mktemp("gigabyte")
    scratch = folder / f"wclayer-gigabyte-{os.getpid()}"
    scratch.mkdir()
    try:
        yield large_image(scratch / "source", 1024 * MB)
    finally:
        subprocess.run(["rm", "-rf", scratch], check=True)


def peak(source: str, target: str, scratch: Path) -> int:
    """The most memory that a copy took, in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", COPY, "copy", source, target, "--quiet"],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WCLAYER_STORE": str(scratch / "store"), "TMPDIR": str(scratch)},
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LOCAL, "registry", "stream"])
def test_a_gigabyte_passes_in_less_than_150_mebibytes(kind: str, gigabyte: str, places: Places) -> None:
    scratch = path_of(gigabyte).parent / kind
    scratch.mkdir()
    try:
        there = Places(scratch, places.host, places.repository)
        target = "docker-archive:-" if kind == "stream" else there.new(kind)
        assert peak(gigabyte, target, scratch) < 150 * 1024
        if kind == "registry":
            for back in ("oci", "oci-archive"):
                assert peak(target, there.new(back), scratch) < 150 * 1024
    finally:
        subprocess.run(["rm", "-rf", scratch], check=True)


def test_an_interrupted_copy_says_that_the_next_one_goes_on(source: str, places: Places) -> None:
    reference, target = places.new("registry"), places.new("oci")
    copy_image(source, reference)
    deadline = time.monotonic() + 60
    said = b""
    while time.monotonic() < deadline:
        process = start("copy", reference, target)
        while process.poll() is None and used(path_of(target)) < 4 * MB:
            time.sleep(0.0005)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        if process.returncode == 130:
            break
        target = places.new("oci")
    assert b"goes on from there" in said
    assert b"interrupted" in said
    assert b"Traceback" not in said
    assert present(target) is None
    copy_image(reference, target)
    assert contents(target) == contents(source)


def test_a_small_image_survives_a_second_writer_of_the_same_layout(places: Places) -> None:
    """Many processes write to one layout: all images are there at the end."""
    layout = places.folder / "shared"
    processes = []
    for number in range(6):
        write_image(places.folder / f"s{number}", [tar([("Files", None), (f"Files/{number}", b"x")])], name="t")
        processes.append(start("copy", f"oci:{places.folder / f's{number}'}:t", f"oci:{layout}:n{number}"))
    for process in processes:
        _, error = process.communicate()
        assert process.returncode == 0, error
    for number in range(6):
        assert root_digest(f"oci:{layout}:n{number}") == root_digest(f"oci:{places.folder / f's{number}'}:t")
