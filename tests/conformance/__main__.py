"""``python -m tests.conformance DIR``: run every case of DIR, print what fails, exit 1 if anything does.

``python -m tests.conformance dump FILE.cim``: everything about every path of an image, as JSON lines; with ``--against
DUMP`` what differs from those that another reader made, exit 1 if anything does.

Two kinds of cases are known, told apart by what their ``case.json`` holds: layer tars (:mod:`tests.conformance.runner`)
and whole folders of layers (:mod:`tests.conformance.folders.runner`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance import dumps
from tests.conformance.folders.rules import Rules
from tests.conformance.folders.runner import is_folder_case, run_folder_case
from tests.conformance.runner import cases_in, run_case


def main() -> int:
    """Run the cases, or dump an image."""
    return dump_image(sys.argv[2:]) if sys.argv[1:2] == ["dump"] else run_cases()


def dump_image(arguments: list[str]) -> int:
    """Print the dump of an image, or how it differs from another one."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance dump", description=dumps.__doc__)
    parser.add_argument("image", type=Path, help="a CIM image of files")
    parser.add_argument("--against", type=Path, metavar="DUMP", help="a dump of the same image by another reader")
    options = parser.parse_args(arguments)
    if options.against is None:
        for line in dumps.dump_lines(options.image):
            print(line)
        return 0
    with options.against.open(encoding="utf-8") as theirs:
        differences = list(dumps.compare_dumps(dumps.dump_lines(options.image), theirs))
    for line in differences:
        print(line)
    return 1 if differences else 0


def run_cases() -> int:
    """Run the cases and say how many passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of cases, each a folder with a case.json")
    parser.add_argument("-v", "--verbose", action="store_true", help="name the passing cases and all differences too")
    arguments = parser.parse_args()
    cases = cases_in(arguments.folder)
    if not cases:
        parser.error(f"{arguments.folder} holds no cases")
    rules = Rules()
    passed = failed = 0
    for case in cases:
        if is_folder_case(case):
            differences = run_folder_case(case, rules)
        else:
            difference = run_case(case)
            differences = [] if difference is None else [difference]
        if differences:
            failed += 1
            for line in differences if arguments.verbose else differences[:1]:
                print(f"FAIL {case.name}: {line}")
        else:
            passed += 1
            if arguments.verbose:
                print(f"ok   {case.name}")
    for line in rules.report():
        print(line)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
