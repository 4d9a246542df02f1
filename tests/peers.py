"""Other programs that the tests compare with: where one is missing, a test is skipped, but never in CI."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["require"]


def require(program: str) -> str:
    """The path of ``program``. Without it the test is skipped, or fails where the environment says ``CI=true``."""
    path = shutil.which(program)
    if path is not None:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed, and in CI it has to be")
    pytest.skip(f"{program} is not installed")
