"""Compiles what every entry of a layer passes through, when ``WCLAYER_COMPILE=1`` asks for it; see docs/performance.md.

The modules are ordinary Python either way, and their sources are in the wheel as well. Compiling happens in a folder of
its own, so nothing is left in the sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SWITCH = "WCLAYER_COMPILE"
# Types are checked elsewhere, where the dependencies are; here only those of the modules themselves matter.
_SETTINGS = "[mypy]\nignore_missing_imports = true\nfollow_imports = silent\nexplicit_package_bases = true\n"


class CompileHook(BuildHookInterface[Any]):
    """The build hook; its one option ``modules`` lists files below ``src``."""

    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """What compiling needs, and building without it does not."""
        return ["mypy>=1.18", "setuptools>=80"] if _wanted() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless this is an editable installation, which runs from its sources."""
        if version == "editable" or not _wanted():
            return
        # Removed at the latest when this process ends, also when compiling fails.
        self._scratch = tempfile.TemporaryDirectory(prefix="wclayer-compile-")
        scratch = Path(self._scratch.name)
        shutil.copytree(Path(self.root, "src", "wclayer"), scratch / "wclayer", ignore=shutil.ignore_patterns("*.so"))
        (scratch / "mypy.ini").write_text(_SETTINGS)
        compiler = [sys.executable, "-m", "mypyc", *self.config["modules"]]
        subprocess.run(compiler, cwd=scratch, check=True)  # noqa: S603 - of the build environment
        shutil.rmtree(scratch / "build")
        for suffix in ("so", "pyd"):
            for path in scratch.rglob(f"*.{suffix}"):
                build_data["force_include"][str(path)] = path.relative_to(scratch).as_posix()
        build_data["infer_tag"] = True
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the folder in which it was compiled."""
        if self._scratch is not None:
            self._scratch.cleanup()


def _wanted() -> bool:
    return os.environ.get(_SWITCH, "") not in ("", "0")
