"""The command, called in this process, and the sample image to call it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wclayer.cli.main import main


class Ended(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    data: bytes
    err: str

    @property
    def out(self) -> str:
        """Standard output as text."""
        return self.data.decode()

    @property
    def document(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.data)


Run = Callable[..., Ended]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """``run("ls", "out")`` is the command with these arguments."""

    def call(*arguments: object) -> Ended:
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return Ended(code, out, err.decode())

    return call


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of the sample image."""
    layout = tmp_path_factory.mktemp("sample")
    assert main(["sample", "-o", f"oci:{layout}:demo", "--format", "json"]) == 0
    return f"oci:{layout}:demo"


@pytest.fixture(scope="session")
def unpacked(sample: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample image, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked") / "out"
    assert main(["unpack", sample, str(folder), "--quiet", "--format", "json"]) == 0
    return folder
