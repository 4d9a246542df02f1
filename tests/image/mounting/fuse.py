"""Whether this machine can mount at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import missing
from wclayer.image.mounting.fuse import fuse_problem

__all__ = ["require_fuse"]


def require_fuse() -> None:
    """Skip the test where the kernel has no /dev/fuse; for want of anything else it fails in CI."""
    if not Path("/dev/fuse").exists():
        pytest.skip("there is no /dev/fuse on this machine, so nothing can be mounted")
    problem = fuse_problem()
    if problem is not None:
        missing(problem)
