"""Real Windows programs to fill layers with: the libraries in well-known Python packages, by exact version.

All of them or none: a corpus of half of the files would be a different one, and nobody would notice.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

__all__ = ["wheel_members", "wheels"]

PACKAGES = (
    "cryptography==50.0.2",
    "lxml==6.1.3",
    "matplotlib==3.11.2",
    "numpy==2.5.5",
    "pandas==3.1.1",
    "pillow==13.0.0",
    "scipy==1.18.1",
)
_PACKED = (".png", ".jpg", ".gz", ".npz", ".zip", ".whl")


def wheels(folder: Path) -> list[Path]:
    """The wheels in ``folder``, downloaded if they are not there yet; an empty list when they cannot be had."""
    found = _present(folder)
    if not found:
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        target = ["--platform", "win_amd64", "--python-version", "3.12", "--only-binary=:all:", "-d", str(folder)]
        answer = subprocess.run([*command, *target, *PACKAGES], capture_output=True, text=True, check=False)
        if answer.returncode:
            print("the Windows wheels cannot be had, so content is synthetic", file=sys.stderr)
        found = _present(folder)
    return found


def _present(folder: Path) -> list[Path]:
    paths: list[Path] = []
    for package in PACKAGES:
        name, _, version = package.partition("==")
        matching = sorted(folder.glob(f"{name}-{version}-*win_amd64.whl"))
        if len(matching) != 1:
            return []
        paths += matching
    return paths


def wheel_members(paths: list[Path]) -> tuple[bytes, bytes]:
    """What is in the wheels: all programs and libraries one after another, and all text."""
    programs, text = [], []
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                data = archive.read(name)
                if data[:2] == b"MZ":
                    programs.append(data)
                elif not name.endswith(_PACKED):
                    text.append(data)
    return b"".join(programs), b"".join(text)
