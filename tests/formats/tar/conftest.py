"""The program that asks Go's archive/tar, built once."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.peers import require

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def gotar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/peers/gotar, built."""
    go = require("go")
    program = tmp_path_factory.mktemp("gotar") / "gotar"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    folder = ROOT / "tests/peers/gotar"
    subprocess.run([go, "build", "-o", str(program), "."], cwd=folder, check=True, env=environment)
    return program
