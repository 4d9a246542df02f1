"""What a worker finds when it begins: the other half of ``test_processes.py``."""

from __future__ import annotations

import json
import os
import signal
import sys


def main(report: int, task: str) -> None:
    """Do what ``task`` says, and write what there is to the descriptor ``report``."""
    if task == "raise":
        raise ZeroDivisionError
    facts = {
        "files": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")),
        "standard": [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1)],
        "leads its group": os.getpgrp() == os.getpid(),
        "handler": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "is a copy": "the one that starts workers" in sys.modules,
    }
    os.write(report, json.dumps(facts).encode())
    if task == "exit":
        sys.exit(3)
    if task == "stay":
        signal.pause()
