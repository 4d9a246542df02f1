"""Eight programs at one store, and one of them killed every second: nothing is lost, nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.store.driver.at_random import Worker
from wclayer.store.driver import MergedMounts
from wclayer.store.driver.checking import check_home, list_layers
from wclayer.store.driver.layers import LayerStore

ROOT = Path(__file__).parent.parent.parent.parent
SECONDS = float(os.environ.get("WCLAYER_STORE_SECONDS", "8"))
PROGRAMS, OPERATIONS = 8, 200


def start(root: Path, seed: int, log: Path) -> subprocess.Popen[bytes]:
    """One program, which writes errors to ``log``, and what it does beside it."""
    with log.open("ab") as errors, log.with_name("done").open("ab") as done:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.store.driver.at_random", str(root), str(seed), str(OPERATIONS)],
            cwd=ROOT,
            stdout=done,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        )


def test_eight_programs_that_are_killed_at_random_leave_a_store_that_is_whole(tmp_path: Path) -> None:
    seed = int(os.environ.get("WCLAYER_STORE_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    root, log = tmp_path / "store", tmp_path / "log"
    deadline = time.monotonic() + SECONDS
    programs = [start(root, chance.randrange(1 << 32), log) for _ in range(PROGRAMS)]
    killed = ended = 0
    next_kill = time.monotonic() + 1
    try:
        while time.monotonic() < deadline:
            time.sleep(0.02)
            for number, program in enumerate(programs):
                if program.poll() is not None:
                    assert program.returncode in (0, -signal.SIGKILL), log.read_text("utf-8", "replace")
                    ended += program.returncode == 0
                    programs[number] = start(root, chance.randrange(1 << 32), log)
            if time.monotonic() >= next_kill:
                next_kill += 1
                chance.choice(programs).kill()
                killed += 1
    finally:
        for program in programs:
            program.kill()
        for program in programs:
            program.wait()
    done = Counter(log.with_name("done").read_text("ascii").splitlines())
    refused = sum(count for name, count in done.items() if name.endswith(" refused"))
    print(
        f"seed {seed}: {SECONDS:.0f} s, {done.total()} operations of which {refused} were refused,"
        f" {ended} programs ended by themselves, {killed + len(programs)} were killed"
    )
    print(dict(done))
    assert log.read_text("utf-8", "replace") == "", f"seed {seed}"
    assert {"add", "remove", "get", "put", "work", "read", "register", "collect", "look"} <= done.keys(), f"seed {seed}"
    with LayerStore(root, mounts=MergedMounts(), patience=20) as store:
        store.collect()
        home = store.driver.home
        assert list(check_home(home)) == [], f"seed {seed}"
        layers = list_layers(home)
        assert layers, f"seed {seed}"
        assert [one.name for one in layers if one.uses] == [], f"seed {seed}: somebody counts who does not live"
        held = {chain_id for image in store.images() for chain_id in image.layers}
        recorded = {layer.chain_id: layer for layer in store.layers()}
        assert held <= recorded.keys(), f"seed {seed}"
        assert [layer for layer in recorded.values() if not store.driver.exists(layer.cache_id)] == [], f"seed {seed}"
        for layer in recorded.values():
            store.write_tar(layer.chain_id, lambda _piece: None)
        # And it can be used as before.
        worker = Worker(root, seed)
        for _ in range(30):
            worker.step()
        worker.store.close()
        assert list(check_home(home)) == [], f"seed {seed}"
