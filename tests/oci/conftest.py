"""What the tests of images share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oci.samples import Opened


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens images for a test, and closes them at its end."""
    found = Opened()
    yield found
    found.close()
