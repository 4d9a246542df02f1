"""What begins like gzip is gzip, too little of anything is an error, and what is written as gzip is whole."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.formats.transport.layers import file, folder, tar_of
from tests.image.transport_layers import names
from wclayer.errors import FormatError
from wclayer.image.importing import import_layer

TAR = tar_of(folder("Files"), file("Files/a", b"data" * 1000))
GZIP = gzip.compress(TAR, mtime=0)


@pytest.mark.parametrize(("data", "compression"), [(TAR, "none"), (GZIP, "gzip")], ids=["tar", "gzip"])
def test_51_the_first_three_bytes_tell_gzip_whatever_the_name_says(
    tmp_path: Path, data: bytes, compression: str
) -> None:
    for name in ("layer.tar", "layer.tar.gz"):
        (tmp_path / name).write_bytes(data)
        made = import_layer(str(tmp_path / name), tmp_path / f"{name}-out")
        assert made.compression == compression
        assert (made.path / "Files" / "a").stat().st_size == 4000


@pytest.mark.parametrize("data", [b"", b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x08", b"F", b"Fi", b"\x1f\x8b\x09" + GZIP[3:]])
def test_51_too_few_bytes_and_gzip_of_another_method_are_errors(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "layer").write_bytes(data)
    with pytest.raises(FormatError) as error:
        import_layer(str(tmp_path / "layer"), tmp_path / "out")
    assert error.value.kind in ("unexpected-eof", "tar-header")
    assert names(tmp_path) == ["layer"]


@pytest.mark.parametrize("target", ["-", "layer.tar.gz"])
def test_51_an_export_as_gzip_is_one_whole_member(tmp_path: Path, target: str) -> None:
    (tmp_path / "layer.tar").write_bytes(TAR)
    import_layer(str(tmp_path / "layer.tar"), tmp_path / "layer")
    command = [sys.executable, "-m", "wclayer", "export", "layer", "-o", target, "--compress", "gzip"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    data = done.stdout if target == "-" else (tmp_path / target).read_bytes()
    decoder = zlib.decompressobj(31)
    assert decoder.decompress(data) == TAR
    assert decoder.eof
    assert decoder.unused_data == b""
    assert gzip.decompress(data) == TAR
