"""Volumes are closed after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.formats.transport.layers import close_volumes


@pytest.fixture(autouse=True)
def _volumes_are_closed() -> Iterator[None]:
    yield
    close_volumes()
