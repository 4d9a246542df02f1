"""``python -m tests.conformance DIR``: run every case of DIR, print what fails, exit 1 if anything does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance.runner import cases_in, run_case


def main() -> int:
    """Run the cases and say how many passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of cases, each a folder with a case.json")
    parser.add_argument("-v", "--verbose", action="store_true", help="name the passing cases too")
    arguments = parser.parse_args()
    cases = cases_in(arguments.folder)
    if not cases:
        parser.error(f"{arguments.folder} holds no cases")
    failed = 0
    for case in cases:
        difference = run_case(case)
        if difference is not None:
            failed += 1
            print(f"FAIL {case.name}: {difference}")
        elif arguments.verbose:
            print(f"ok   {case.name}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
