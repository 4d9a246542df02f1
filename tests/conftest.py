"""What all tests share: how hard hypothesis tries, and the other programs that wclayer is compared with."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.peers import require

# Registries of the tests' own, see tests/registries.
pytest_plugins = ["tests.registries.fixtures"]

CI = os.environ.get("CI") == "true"

settings.register_profile("dev", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), max_examples=100, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if CI else "dev"))


@pytest.fixture(scope="session")
def peer() -> Callable[[str], str]:
    """``peer("bsdtar")`` is the path of that program, see :func:`tests.peers.require`."""
    return require
