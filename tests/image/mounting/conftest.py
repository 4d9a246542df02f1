"""Mounts that are gone when a test ends, and layers to mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.image.mounting.fuse import require_fuse
from tests.image.stacks import make_image
from wclayer.errors import NotFoundError
from wclayer.image.mounting.mounts import mount, unmount
from wclayer.image.unpack import unpack
from wclayer.model import LayerItem

Mount: TypeAlias = Callable[..., Path]
Unpacked: TypeAlias = Callable[..., Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """``mounted(image, upper=folder)`` is the folder where it is mounted."""
    require_fuse()
    folders: list[Path] = []

    def call(image: str | Path, **options: Any) -> Path:
        folder = tmp_path / f"mnt{len(folders)}"
        folders.append(folder)
        done = mount(str(image), folder, **options)
        assert done.written_out is None
        return folder

    yield call
    for folder in reversed(folders):
        with suppress(NotFoundError):
            unmount(folder, lazy=True)


@pytest.fixture
def layers(tmp_path: Path) -> Unpacked:
    """``layers(base, middle, top)`` is the folder that an image of these layers was unpacked to."""
    made = 0

    def call(*stack: list[LayerItem]) -> Path:
        nonlocal made
        made += 1
        reference = make_image(tmp_path / "layout", *stack, tag=f"image{made}")
        folder = tmp_path / f"image{made}"
        unpack(reference, folder)
        return folder

    return call
