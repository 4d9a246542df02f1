"""A verb loads what it needs: what is unpacked is read without anything of registries, archives and compression."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.stacks import file, make_image

CODE = "import sys; from wclayer.cli.main import main; code = main({}); print(code, *sys.modules, file=sys.stderr)"


@pytest.mark.parametrize("verb", ["ls", "stat", "cat", "inspect"])
def test_what_is_unpacked_is_read_without_the_rest(verb: str, tmp_path: Path, run: Run) -> None:
    image = str(tmp_path / "unpacked")
    assert run("unpack", make_image(tmp_path / "layout", [file("Files/f", b"data")]), image).code == 0
    arguments = [verb, image] + ([] if verb == "inspect" else ["f"])
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(arguments)], check=False, capture_output=True, text=True, timeout=60
    )
    code, *loaded = ended.stderr.split()
    assert code == "0"
    assert "wclayer.formats.folder" in loaded
    assert not {"wclayer.oci", "wclayer.formats.tar"} & set(loaded)
    assert verb == "stat" or "wclayer.ntfs.sddl" not in loaded
