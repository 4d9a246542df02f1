"""An import that is killed, at any moment, leaves the layer whole or not at all, and what it left is no obstacle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.formats.cim.layers import facts_of
from tests.formats.cim.test_layer_writer import base_items, delta, file
from wclayer.formats.cim.files import sweep_cims
from wclayer.formats.cim.layer_folder import destroy_cim_layer
from wclayer.formats.cim.layer_names import layer_in
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.layer_writer import CimLayerWriter
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.folder.staging import sweep
from wclayer.model import LayerItem, copy_layer

ROOT = Path(__file__).parents[3]
KILLS = 8

CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {src!r}]
from tests.formats.cim.test_layer_killed import import_upper
print("ready", flush=True)
import_upper(Path(sys.argv[1]))
"""


def upper_items() -> list[LayerItem]:
    files: list[LayerItem] = [file(f"Files/{number}", bytes([number % 256]) * 5000) for number in range(150)]
    return [*files, file("Hives/SYSTEM_DELTA", delta("SYSTEM", "more"))]


def import_upper(root: Path) -> None:
    with CimLayerWriter(layer_in(root, "upper"), parents=[layer_in(root, "base")]) as writer:
        copy_layer(upper_items(), writer)


def started(root: Path) -> subprocess.Popen[str]:
    script = CHILD.format(root=str(ROOT), src=str(ROOT / "src"))
    child = subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout as said:
        assert said.readline() == "ready\n"
    return child


@pytest.mark.skipif(os.name == "nt", reason="processes are killed by signals of POSIX")
def test_a_killed_import_leaves_the_layer_whole_or_not_at_all(tmp_path: Path) -> None:
    base, upper = layer_in(tmp_path, "base"), layer_in(tmp_path, "upper")
    with CimLayerWriter(base) as writer:
        copy_layer(base_items(), writer)
    before = time.monotonic()
    child = started(tmp_path)
    assert child.wait() == 0
    whole = time.monotonic() - before
    expected = facts_of(CimLayerReader(upper.cim))
    destroy_cim_layer(upper)
    names = {path.name for path in upper.cim.parent.iterdir()}
    killed = 0
    deadline = time.monotonic() + 120
    while killed < KILLS and time.monotonic() < deadline:
        child = started(tmp_path)
        time.sleep(whole * killed / KILLS)
        child.send_signal(signal.SIGKILL)
        if child.wait() == 0:
            whole *= 0.8  # it was done before
        else:
            killed += 1
        if upper.cim.exists():
            assert facts_of(CimLayerReader(upper.cim)) == expected
            assert [finding for finding in verify_cim(upper.cim) if finding.severity == "error"] == []
            destroy_cim_layer(upper)
        sweep_cims(upper.cim.parent)
        sweep(tmp_path)
        assert {path.name for path in upper.cim.parent.iterdir()} == names
        assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "cim-layers"]
    assert killed == KILLS
    import_upper(tmp_path)
    assert facts_of(CimLayerReader(upper.cim)) == expected
