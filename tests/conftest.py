"""What all tests share: how hard hypothesis tries, and the other programs that wclayer is compared with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

CI = os.environ.get("CI") == "true"

settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), max_examples=300, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if CI else "dev"))


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """``peer("bsdtar")`` is the path of that program.

    Where it is not installed the test is skipped; a continuous integration machine must have them all.
    """

    def find(command: str) -> str:
        path = shutil.which(command)
        if path is None and CI:
            pytest.fail(f"{command} is not installed, see .ci/peers")
        if path is None:
            pytest.skip(f"{command} is not installed, see .ci/peers")
        return path

    return find
