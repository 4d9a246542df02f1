"""Stacks of hand-made layers, seen in every way they can be seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.image.stacks import make_image
from wclayer.image.sample import make_sample
from wclayer.image.target import open_view
from wclayer.image.unpack import unpack
from wclayer.image.view import View
from wclayer.model import LayerItem

Stack: TypeAlias = Callable[..., View]


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference of the sample image."""
    layout = tmp_path_factory.mktemp("sample")
    make_sample(layout, "demo")
    return f"oci:{layout}:demo"


@pytest.fixture(scope="session")
def unpacked(sample: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample image, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked") / "out"
    unpack(sample, folder)
    return folder


@pytest.fixture(params=["scanned", "unpacked"])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    """``stack(base, middle, top)`` is the view of an image of these layers: as it is, and unpacked."""
    opened: list[View] = []

    def view_of(*layers: list[LayerItem], **options: Any) -> View:
        number = len(opened)
        reference = make_image(tmp_path / "layout", *layers, tag=f"image{number}")
        if request.param == "unpacked":
            folder = tmp_path / f"unpacked{number}"
            unpack(reference, folder)
            reference = str(folder)
        opened.append(open_view(reference, **options))
        return opened[-1]

    yield view_of
    for view in opened:
        view.close()
