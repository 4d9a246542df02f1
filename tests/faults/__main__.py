"""``python -m tests.faults``: every case, printed as a table; the exit code is 1 when one ended otherwise than it must.

The proxy stands before Debian's docker-registry, or before a registry in memory, where that is wanted or there is none.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.cases import DOWNLOADS, UPLOADS
from tests.faults.runner import check, run
from tests.faults.upstreams import CONTENT, Upstream, docker_upstream, memory_upstream

__all__ = ["main"]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="a part of the name of the cases to run")
    parser.add_argument("--memory", action="store_true", help="use the registry in memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        in_memory = options.memory or shutil.which("docker-registry") is None
        with memory_upstream() if in_memory else docker_upstream(Path(scratch)) as upstream:
            print(f"# {upstream.name}: case, mode, end, requests, times the blob, seconds")
            return _table(upstream, options.only, Path(scratch))


def _table(upstream: Upstream, only: str, scratch: Path) -> int:
    failed = []
    for number, case in enumerate([*DOWNLOADS, *UPLOADS]):
        for mode in case.modes if only in case.name else ():
            folder = scratch / f"{number}-{mode}"
            folder.mkdir()
            outcome = run(case, mode, upstream.host, upstream.repository_for(mode), CONTENT, folder)
            wrong = check(outcome)
            print(f"{'FAILED' if wrong else 'ok':7}{outcome.row}", flush=True)
            failed += [f"{case.name}, {mode}: {why}" for why in wrong]
    print("\n".join(failed) if failed else "all ended as they must")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
