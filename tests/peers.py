"""Other programs that the tests compare with: where one is missing, a test is skipped, but never in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

__all__ = ["missing", "require"]


def require(program: str) -> str:
    """The path of ``program``. Without it the test is skipped, or fails where the environment says ``CI=true``."""
    path = shutil.which(program)
    return path if path is not None else missing(program)


def missing(what: str) -> NoReturn:
    """Skip the test for want of ``what``, or fail it where the environment says ``CI=true``."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed, and in CI it has to be")
    pytest.skip(f"{what} is not installed")
