"""A containerd of this machine with a root of its own: it writes real databases, which is all that is wanted of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.peers import require

__all__ = ["Containerd"]

_DEADLINE = 60  # seconds
_CONFIG = """
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{socket}"
"""


class Containerd:
    """containerd with the root ``root``, running within a ``with`` statement; afterwards its databases are whole."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._program, self._client = require("containerd"), require("ctr")
        if os.geteuid() != 0:
            pytest.skip("containerd starts for root only")
        # The path of a socket may have 107 characters.
        self._state = Path(tempfile.mkdtemp(prefix="wcl-ctd-"))
        self._socket = self._state / "c.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        config = self._state / "config.toml"
        config.write_text(_CONFIG.format(root=self.root, state=self._state / "state", socket=self._socket))
        with (self._state / "log").open("wb") as log:
            self._process = subprocess.Popen([self._program, "-c", str(config)], stdout=log, stderr=log)
        end = time.monotonic() + _DEADLINE
        while subprocess.run([self._client, "-a", self._socket, "version"], capture_output=True).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"containerd does not start: {(self._state / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(_DEADLINE)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            shutil.rmtree(self._state, ignore_errors=True)

    def ctr(self, *arguments: str | Path) -> str:
        """What ``ctr`` says in the namespace ``wclayer``."""
        done = subprocess.run(
            [self._client, "-a", self._socket, "-n", "wclayer", *arguments], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
