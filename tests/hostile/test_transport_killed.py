"""kill -9 while a layer goes from one form into another: the old state or the new one, and the next run puts it right.

A transport folder and the manifest beside it are two names. The manifest comes first, so at worst it is there alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.command import Trace, snapshot
from tests.hostile.forms import JOBS, ZYGOTE, Job, hidden, visible, whole
from tests.hostile.generated import generated_image
from tests.hostile.test_killed import moments, place, remove

__all__ = ["place"]  # a fixture

pytestmark = pytest.mark.slow

#: How often each is killed. The one that makes a transport folder and the one that takes it apart stand for the others.
KILLS = dict.fromkeys(JOBS, 10) | {"tar-transport": 50, "api-import": 50}

Killer = Callable[[tuple[str, ...], float | None], tuple[int, float]]


@pytest.fixture(scope="module")
def kill() -> Iterator[Killer]:
    """Runs an order and kills it after some seconds, or never; returns its exit code and how long it took."""
    arguments = [sys.executable, "-c", ZYGOTE]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zygote:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        stdin, stdout = zygote.stdin, zygote.stdout

        def run(order: tuple[str, ...], after: float | None) -> tuple[int, float]:
            stdin.write(json.dumps([order, after]) + "\n")
            stdin.flush()
            code, took = json.loads(stdout.readline())
            assert code == 0 or (after is not None and code == -9), (order, code)
            return code, took

        yield run
        stdin.close()


def around(root: Path, work: Path) -> dict[str, Trace]:
    """Everything but the place of work. New names of a parent's files change how many they have, and nothing else."""
    traces = snapshot(root, without=[root, work])
    return {
        path: trace._replace(links=0)
        for path, trace in traces.items()
        if path == str(work) or not path.startswith(f"{work}/")
    }


def forget(job: Job) -> None:
    """Remove what a run made, but nothing that an unfinished one left."""
    remove(job.out) if job.out.is_dir() else job.out.unlink(missing_ok=True)
    for companion in job.companions:
        companion.unlink(missing_ok=True)


def state_of(job: Job) -> dict[str, str]:
    """What there is under the names that a run gives."""
    return {path.name: whole(path) for path in (job.out, *job.companions) if path.exists()}


@pytest.mark.parametrize("name", JOBS)
def test_the_old_state_or_the_new_one(name: str, place: Path, kill: Killer) -> None:
    (place / "work").mkdir()
    job = JOBS[name](place)
    others = visible(job.work)
    _, duration = kill(job.order, None)
    complete = state_of(job)
    assert set(complete) == {job.out.name, *(path.name for path in job.companions)}
    forget(job)
    before = around(place, job.work)
    seen = Counter[str]()
    deadline = time.monotonic() + 120
    for round_number in range(100):
        for number, after in enumerate(moments(duration, KILLS[name], seed=round_number)):
            code, _ = kill(job.order, after)
            seen["killed"] += code != 0
            seen["left"] += bool(hidden(job.work))
            state = state_of(job)
            if job.out.exists():
                assert state == complete, after
                seen["new"] += 1
            else:
                assert set(state) <= {path.name for path in job.companions}
                assert state.items() <= complete.items()
                seen["old"] += 1
            assert visible(job.work) - others <= set(complete)
            assert around(place, job.work) == before
            forget(job)
            if number % 5 == 4:
                kill(job.order, None)
                assert hidden(job.work) == []
                assert state_of(job) == complete
                forget(job)
        if (seen["left"] and seen["old"]) or time.monotonic() > deadline:
            break
    assert seen["left"], "no run was killed while it worked"
    assert seen["old"], seen
    # What is there from before stays until there is something better.
    if job.out.suffix == ".tar":
        job.out.write_bytes(b"what was there before")
        for after in moments(duration, 5, seed=5):
            job.out.write_bytes(b"what was there before")
            kill(job.order, after)
            assert job.out.read_bytes() == b"what was there before" or state_of(job) == complete
    kill(job.order, None)
    assert hidden(job.work) == []
    assert state_of(job) == complete
    assert visible(job.work) == others | set(complete)
    assert around(place, job.work) == before


def test_an_image_unpacked_for_windows_has_whole_layers_only(place: Path, kill: Killer) -> None:
    (place / "source").mkdir()
    image, out = generated_image(place / "source"), place / "out"
    order = ("unpack", image, str(out))
    _, duration = kill(order, None)
    complete = {path.name: whole(path) for path in (out / "layers").iterdir()}
    remove(out)
    seen = Counter[int]()
    for after in moments(duration, 10, seed=10):
        kill(order, after)
        layers = visible(out / "layers") if (out / "layers").exists() else set()
        seen[len(layers)] += 1
        for name in layers:
            assert whole(out / "layers" / name) == complete[name]
    assert sum(seen.values()) == 10
    kill(order, None)
    assert {path.name: whole(path) for path in (out / "layers").iterdir()} == complete
    assert hidden(out / "layers") == []
