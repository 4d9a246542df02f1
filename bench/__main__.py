"""``python -m bench``: build the corpora, run the suites, print what came out, and write docs/performance.md.

The exit code is 0 whether the targets were reached or not, unless ``--check`` is given: then it is 1 when one was not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

from bench.ground import scratch_folder
from bench.report import markdown, update_page
from bench.results import Result
from bench.suites import DEFAULT, SUITES, Bench
from bench.tools import OUT

__all__ = ["main"]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; default: all but huge")
    parser.add_argument("--rounds", type=int, default=5, help="after the warm-up; default: 5")
    parser.add_argument("--files", type=int, default=20_000, help="of the large layer; default: 20000")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="of the large layer; default: 1 GB")
    parser.add_argument("--shrink", type=int, default=1, metavar="N", help="divide the size of every corpus by N")
    parser.add_argument("--seed", type=int, default=1, help="of the corpora")
    parser.add_argument("--content", choices=("wheels", "synthetic"), default="wheels", help="what files are made of")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a target was not reached")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    parser.add_argument("--render", action="store_true", help="only write the page, from results that are there")
    options = parser.parse_args()
    unknown = [name for name in options.suites if name not in SUITES]
    if unknown or options.rounds < 1 or options.shrink < 1:
        parser.error(f"no such suite: {', '.join(unknown)}" if unknown else "--rounds and --shrink are at least 1")
    if options.render:
        update_page(OUT)
        return 0
    usual = all(getattr(options, name) == parser.get_default(name) for name in ("files", "bytes", "shrink", "seed"))
    out = OUT if usual else OUT / "trial"  # from which no page is made
    out.mkdir(parents=True, exist_ok=True)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program was compiled once, not for every run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mounts and corpora are removed
    results: list[Result] = []
    with scratch_folder() as scratch:
        bench = Bench(
            scratch, options.files, options.bytes, options.rounds, options.shrink, options.seed, options.content
        )
        for name in options.suites or DEFAULT:
            print(f"suite {name}", file=sys.stderr)
            result = SUITES[name](bench)
            results.append(result)
            document = result.to_json()
            (out / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
            print(f"\n## {result.title}\n\n{markdown(document)}", flush=True)
    if out == OUT and not options.no_page:
        update_page(OUT)
    missed = [
        f"{result.suite}: {target.what}" for result in results for target in result.targets if target.reached is False
    ]
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
