"""Runs a folder of layer tar cases: what the reference implementation writes and reads, ours must too."""

import sys
from pathlib import Path

if "wclayer" not in sys.modules:
    # ``python -m tests.conformance`` works in a checkout that nobody installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))
