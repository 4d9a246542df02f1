"""Whether the files of a Docker layer still make the tar that its DiffID is of."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.store.hosts.docker_host import DockerHost, Layer
from wclayer.store.hosts import Finding, open_host_stores

BOOT = "UtilityVM/Files/EFI/Microsoft/Boot"
FILES = {"a.txt": b"a" * 3_000_000, "b/c.txt": b"c", "empty": b""}


@pytest.fixture
def host(tmp_path: Path) -> DockerHost:
    return DockerHost(tmp_path)


@pytest.fixture
def base(host: DockerHost) -> Layer:
    layer = host.layer("base", FILES)
    host.make_image(layer, "base:1")
    return layer


def findings(host: DockerHost) -> list[Finding]:
    with open_host_stores(host.root) as (store,):
        return store.findings(content=True)


def test_whole_layers_pass(host: DockerHost, base: Layer) -> None:
    assert findings(host) == []


@pytest.mark.parametrize(
    ("path", "data", "code", "said"),
    [
        ("a.txt", b"b" * 3_000_000, "layer-data-wrong", "DiffID"),
        ("a.txt", b"a" * 2_999_999, "layer-data-wrong", "Files/a.txt: 2999999 bytes"),
        ("a.txt", b"a" * 9_000_000, "layer-data-wrong", "Files/a.txt: more than 3000000 bytes"),
        ("b/c.txt", None, "layer-data-missing", "Files/b/c.txt"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_found(
    host: DockerHost, base: Layer, path: str, data: bytes | None, code: str, said: str
) -> None:
    file = host.path(base) / "Files" / path
    file.unlink() if data is None else file.write_bytes(data)
    (finding,) = findings(host)
    assert (finding.code, finding.subject) == (code, base.chain_id)
    assert said in finding.detail


@pytest.mark.parametrize(
    "packed",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"no gzip", id="no gzip"),
        pytest.param(gzip.compress(b"{}\n"), id="a piece of no type"),
        pytest.param(gzip.compress(b"no json\n"), id="no JSON"),
        pytest.param(gzip.compress(b'{"type":3,"payload":""}\n'), id="an unknown type"),
        pytest.param(gzip.compress(b'{"type":1,"name":1,"size":1}\n'), id="a name that is a number"),
        pytest.param(gzip.compress(b'{"type":2,"payload":"*"}\n'), id="no base64"),
        pytest.param(gzip.compress(b"[1]\n"), id="a list"),
        pytest.param(gzip.compress(b"x" * 20_000_000), id="a line too long"),
        pytest.param(gzip.compress(json.dumps({"type": 2, "payload": "AAAA" * 100}).encode())[:-20], id="cut off"),
    ],
)
def test_a_damaged_list_of_pieces_is_an_error_of_its_layer(host: DockerHost, base: Layer, packed: bytes) -> None:
    (host.record(base) / "tar-split.json.gz").write_bytes(packed)
    (finding,) = findings(host)
    assert (finding.code, finding.subject) == ("layer-data-wrong", base.chain_id)
    assert finding.detail.startswith("tar-split.json.gz: ")


def test_a_layer_that_cannot_be_checked_is_told_of(host: DockerHost, base: Layer) -> None:
    (host.record(base) / "tar-split.json.gz").unlink()
    (finding,) = findings(host)
    assert (finding.code, finding.severity) == ("content-unchecked", "warning")


def test_a30_the_kept_copies_stand_in_for_the_boot_configuration(host: DockerHost) -> None:
    """The builder puts files below Files; the utility VM's are moved to where they belong, as import leaves them."""
    names = ("BCD", "BCD.LOG", "BCD.LOG1", "BCD.LOG2")
    files = {f"../{BOOT}/{name}": f"pristine {name}".encode() for name in names}
    layer = host.layer("uvm", {**files, "a.txt": b"a"})
    host.make_image(layer, "uvm:1")
    folder = host.path(layer)
    record = host.record(layer)
    lines = gzip.decompress((record / "tar-split.json.gz").read_bytes())
    lines = lines.replace(f"Files/../{BOOT}".encode(), BOOT.encode())
    (record / "tar-split.json.gz").write_bytes(gzip.compress(lines))
    for name in names:
        shutil.copy(folder / BOOT / name, folder / f"{name}.bak".swapcase())
        (folder / BOOT / name).write_bytes(b"rewritten by Windows")
    assert findings(host) == []
