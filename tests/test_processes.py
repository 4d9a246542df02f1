"""Workers: a copy of the command, or a new interpreter, with nothing that is not theirs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from wclayer.processes import can_start_workers

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="workers are used on Linux only")

PROGRAM = """
import json, os, signal, sys, threading
sys.modules["the one that starts workers"] = sys
from wclayer.processes import allow_copies, start_worker

task, copies, threads = sys.argv[1], sys.argv[2] == "copies", sys.argv[3] == "threads"
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
if copies:
    allow_copies()
if threads:
    threading.Thread(target=signal.pause, daemon=True).start()
mine, theirs = os.pipe()
os.set_inheritable(mine, True)
worker = start_worker("tests.worker_facts", (theirs, task), [theirs])
os.close(theirs)
said = os.read(mine, 4096)
found = {"facts": json.loads(said) if said else None, "theirs": theirs, "pid": worker.pid}
if task == "stay":
    if os.environ.get("END") == "kill":
        worker.kill(10)
    else:
        os.kill(worker.pid, signal.SIGTERM)
found["code"] = worker.wait()
found["again"] = worker.wait()
print(json.dumps(found), flush=True)
os._exit(0)
"""


def started(task: str, *, copies: bool, threads: bool = False, end: str = "") -> tuple[dict[str, Any], str]:
    """What a program that starts a worker for ``task`` found out, and what was written to standard error."""
    command = [sys.executable, "-c", PROGRAM, task, "copies" if copies else "", "threads" if threads else ""]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env={"END": end})
    (line,) = done.stdout.splitlines()  # once: the worker does not go on where the program does
    found: dict[str, Any] = json.loads(line)
    return found, done.stderr


@pytest.mark.parametrize("copies", [True, False])
def test_a_worker_has_the_files_it_was_given_and_no_others(copies: bool) -> None:
    found, _ = started("look", copies=copies)
    facts = found["facts"]
    assert facts["files"] == [0, 1, 2, found["theirs"]]
    assert facts["standard"] == ["/dev/null"] * 2
    assert facts["leads its group"]
    assert facts["handler"]
    assert facts["blocked"] == []
    assert facts["is a copy"] == copies
    assert (found["code"], found["again"]) == (0, 0)


def test_a_process_with_threads_is_not_copied() -> None:
    found, _ = started("look", copies=True, threads=True)
    assert not found["facts"]["is a copy"]


@pytest.mark.parametrize("copies", [True, False])
def test_an_error_ends_the_worker_alone_and_is_told(copies: bool) -> None:
    found, told = started("raise", copies=copies)
    assert found["facts"] is None
    assert found["code"] == 1
    assert "ZeroDivisionError" in told


def test_a_copy_that_wants_to_exit_leaves_its_maker_alone() -> None:
    found, _ = started("exit", copies=True)
    assert found["code"] == 1


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize(("end", "code"), [("kill", -9), ("terminate", -15)])
def test_a_worker_can_be_ended(copies: bool, end: str, code: int) -> None:
    found, _ = started("stay", copies=copies, end=end)
    assert (found["code"], found["again"]) == (code, code)
