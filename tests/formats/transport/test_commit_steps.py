"""Every single step of finishing a layer, in its order, and what happens when that one fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.formats.transport.layers import Layer, put, stream, volume
from wclayer.errors import StoreError
from wclayer.formats.transport import commit_layer, import_layer
from wclayer.formats.volume import Volume

pytestmark = pytest.mark.replaces_methods

STEPS = [
    "import",
    "remove Files\\gone",
    "remove Files\\none",
    "remove Files\\link",
    "link Files\\link",
    "remove Files\\again",
    "link Files\\again",
    "times of Files\\d\\e",
    "times of Files\\d",
    "times of Hives",
    "times of Files",
    "ensure UtilityVM",
    "process",
]


class Watched:
    """A layer whose steps are written down, and one of which fails."""

    def __init__(self, layer: Layer, failing: str = "") -> None:
        self.layer, self.failing = layer, failing
        self.seen: list[str] = []
        self.importing = False
        self._watch("remove", lambda path: f"remove {path}")
        self._watch("link", lambda _source, _target, path: f"link {path}")
        self._watch("set_basic", lambda status, _basic: f"times of {status.path}")
        self._watch("ensure_not_reparse_point", lambda path, *_rest: f"ensure {path}")

    def _watch(self, name: str, describe: Callable[..., str]) -> None:
        original = getattr(self.layer.layer, name)

        def step(*arguments: Any) -> Any:
            self.step(describe(*arguments))
            return original(*arguments)

        setattr(self.layer.layer, name, step)

    def step(self, text: str) -> None:
        # Importing changes the layer in many ways, and making a link looks at what it leads to.
        if self.importing or text.startswith("ensure Files"):
            return
        self.seen.append(text)
        if text == self.failing:
            raise StoreError(f"{text} failed")

    def import_layer(self, layer: Volume, transport: Volume, parents: Sequence[Volume]) -> None:
        self.step("import")
        self.importing = True
        import_layer(layer, transport, parents)
        self.importing = False

    def process(self, _layer: Volume) -> None:
        self.step("process")

    def commit(self) -> None:
        commit_layer(self.layer.writer, self.import_layer, self.process)


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    """A layer in which every step has something to do."""
    parent = volume(tmp_path / "p", "{parent0}")
    put(parent, "Files\\base.dll", b"base")
    put(parent, "UtilityVM\\Files\\k.sys", b"kernel")
    made = Layer(tmp_path / "l", parent)
    made.folder("Files")
    made.folder("Hives")
    made.add("Hives\\System_Delta", stream(b"regf"))
    made.folder("Files\\d")
    made.folder("Files\\d\\e")
    made.add("Files\\gone", stream(b"x"))
    made.folder("UtilityVM")
    made.writer.add_link("Files\\link", "Files\\base.dll")
    made.writer.add_link("Files\\again", "Files\\link")
    made.writer.remove("Files\\gone")
    made.writer.remove("Files\\none")
    return made


def test_33_all_steps_are_done_in_their_order(layer: Layer) -> None:
    watched = Watched(layer)
    watched.commit()
    assert watched.seen == STEPS
    assert not layer.layer.exists("Files\\gone")
    assert layer.layer.lstat("Files\\again").file_id == layer.parents[0].lstat("Files\\base.dll").file_id


@pytest.mark.parametrize("failing", STEPS)
def test_33_a_step_that_fails_is_the_last_one(layer: Layer, failing: str) -> None:
    watched = Watched(layer, failing)
    with pytest.raises(StoreError, match="failed"):
        watched.commit()
    assert watched.seen == STEPS[: STEPS.index(failing) + 1]


def test_35_finishing_again_does_nothing(layer: Layer) -> None:
    watched = Watched(layer)
    watched.commit()
    watched.commit()
    assert watched.seen == STEPS


@pytest.mark.parametrize("failing", STEPS)
def test_35_finishing_again_after_an_error_is_that_error_again(layer: Layer, failing: str) -> None:
    watched = Watched(layer, failing)
    errors = []
    for _ in range(2):
        with pytest.raises(StoreError) as error:
            watched.commit()
        errors.append(error.value)
        watched.failing = ""
    assert errors[0] is errors[1]
    assert watched.seen == STEPS[: STEPS.index(failing) + 1]
