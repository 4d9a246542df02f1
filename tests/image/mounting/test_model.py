"""Two thousand random operations on a mount give what they give on a model, and so does the layer they become."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.image.mounting.conftest import Mount
from tests.image.mounting.operations import Model
from wclayer.image.mounting.committing import commit
from wclayer.image.mounting.mounts import unmount
from wclayer.image.target import open_view

OPERATIONS = 2000
CHECKED_EVERY = 400


def shown(folder: Path) -> dict[str, object]:
    """What a mount shows below Files."""
    model = Model(folder, "Files", random.Random(0))
    model.read_from_mount()
    return model.shown()


def test_a_mount_does_what_a_model_does_and_the_layer_has_exactly_that(
    mounted: Mount, unpacked: Path, tmp_path: Path
) -> None:
    seed = int(os.environ.get("WCLAYER_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"WCLAYER_SEED={seed}")
    upper, layer = tmp_path / "upper", tmp_path / "layer"
    folder = mounted(unpacked, upper=upper)
    model = Model(folder, "Files", random.Random(seed))
    model.read_from_mount()
    before = model.shown()
    for number in range(1, OPERATIONS + 1):
        model.step()
        if number % CHECKED_EVERY == 0:
            assert shown(folder) == model.shown(), f"seed {seed}, after {number} operations"
    assert model.done.keys() == model.kinds(), f"seed {seed} has left something out"
    unmount(folder)

    again = mounted(unpacked, upper=upper)
    assert shown(again) == model.shown(), f"seed {seed}, mounted again"
    unmount(again)

    commit(str(upper), str(layer))
    assert shown(mounted(layer)) == model.shown(), f"seed {seed}, as a layer"
    assert shown(mounted(unpacked)) == before, "what is below has changed"


def test_what_nobody_touched_is_not_in_the_layer(mounted: Mount, unpacked: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("WCLAYER_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"WCLAYER_SEED={seed}")
    upper, layer = tmp_path / "upper", tmp_path / "layer"
    folder = mounted(unpacked, upper=upper)
    model = Model(folder, "Files", random.Random(seed))
    model.read_from_mount()
    everything = model.untouched()
    while len(untouched := model.untouched()) > len(everything) * 2 // 3:
        model.step()
    unmount(folder)
    commit(str(upper), str(layer))
    with open_view(str(layer), layer=-1) as view:
        written = {found.path.removeprefix("Files/") for found in view.walk(view.find("Files")) if not found.is_folder}
    assert written
    assert sorted(written & untouched) == [], f"seed {seed}"
