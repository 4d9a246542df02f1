"""The processors that may be used: what the process is bound to, and what its control groups grant."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest

from wclayer.image.processors import prefer_throughput, usable_processors


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 processors, with the group ``/outer/inner``."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(16)), raising=False)
    (tmp_path / "groups/outer/inner").mkdir(parents=True)
    (tmp_path / "membership").write_text("1:cpu:/other\n0::/outer/inner\n")
    return tmp_path


def count(machine: Path) -> int:
    return usable_processors(machine / "membership", machine / "groups")


@pytest.mark.parametrize(
    ("group", "text", "expected"),
    [
        ("outer/inner", "max 100000\n", 16),
        ("outer/inner", "400000 100000\n", 4),
        ("outer/inner", "150000 100000\n", 2),
        ("outer/inner", "10000 100000\n", 1),
        ("outer", "300000 100000\n", 3),
        ("", "700000 100000\n", 7),
        ("outer", "9900000 100000\n", 16),
        ("outer", "what is this\n", 16),
        ("outer", "100000 0\n", 16),
        ("outer", "\xe4", 16),
        ("outer", "", 16),
    ],
)
def test_a_group_and_those_above_it_limit(group: str, text: str, expected: int, machine: Path) -> None:
    (machine / "groups" / group / "cpu.max").write_text(text, encoding="latin-1")
    assert count(machine) == expected


def test_the_tightest_limit_counts(machine: Path) -> None:
    (machine / "groups/outer/cpu.max").write_text("300000 100000")
    (machine / "groups/outer/inner/cpu.max").write_text("500000 100000")
    assert count(machine) == 3


@pytest.mark.parametrize("text", ["", "4:memory:/x\n", "0::/../../etc\n", "0::/gone\n", "0::/\n"])
def test_other_memberships_limit_nothing(text: str, machine: Path) -> None:
    (machine / "membership").write_text(text)
    assert count(machine) == 16


def test_without_such_groups_the_binding_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_processors(machine / "nothing", machine / "groups") == 16
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_processors(machine / "nothing", machine / "groups") == 1


def test_this_machine_has_one_at_least() -> None:
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has this class of scheduling")
def test_a_thread_that_prefers_throughput_hands_that_on_and_leaves_others_alone() -> None:
    found: list[int] = []

    def below() -> None:
        found.append(os.sched_getscheduler(0))

    def work() -> None:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        with prefer_throughput():
            started = threading.Thread(target=below)
            started.start()
            started.join()
        below()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with prefer_throughput():
            below()

    before = os.sched_getscheduler(0)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_IDLE]
    assert os.sched_getscheduler(0) == before
