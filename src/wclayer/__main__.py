"""``python -m wclayer`` is the command line."""

import sys

from wclayer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
