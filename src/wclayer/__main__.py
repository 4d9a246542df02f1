"""``python -m wclayer`` is the command line."""

from wclayer.cli.main import main

if __name__ == "__main__":
    main()
