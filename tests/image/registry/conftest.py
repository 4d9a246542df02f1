"""An image with the registry of Windows, of three layers, in an OCI layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.registry.windows_images import three_layers
from wclayer.image.unpack import unpack


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of an image of a base, a patch, and a layer that removes an application."""
    return three_layers(tmp_path_factory.mktemp("windows"))


@pytest.fixture(scope="session")
def unpacked_windows(windows: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked-windows") / "out"
    unpack(windows, folder)
    return folder
