"""``python -m wclayer`` is the command line."""

from wclayer.cli.main import program

if __name__ == "__main__":
    program()
