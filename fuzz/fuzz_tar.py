"""Coverage-guided fuzzing of the layer tar reader with atheris: nothing but items or an error of wclayer may come out.

Not part of the tests. To run it until it finds something::

    pip install atheris
    python fuzz/fuzz_tar.py -rss_limit_mb=1024 -timeout=10 CORPUS tests/data/layertar

where CORPUS is a folder for what it learns. A file that fails is then read with ``python fuzz/fuzz_tar.py FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["wclayer"]):
    from wclayer.errors import WclayerError
    from wclayer.formats.tar import Members, SlabStream, TarLayerReader
    from wclayer.formats.tar.backuptar import import_operations
    from wclayer.model import AlternateStream, Entry, Notices

BLOCK = 512
MOST_DATA = 1 << 20


def with_checksums(data: bytes) -> bytes:
    """``data`` with a good checksum in every block that could be a header; no mutation would ever find one."""
    out = bytearray(data)
    for start in range(0, len(out) - BLOCK + 1, BLOCK):
        if out[start + 257 : start + 262] == b"ustar" or out[start + 148 : start + 150] == b"  ":
            out[start + 148 : start + 156] = b" " * 8
            out[start + 148 : start + 156] = b"%06o\0 " % sum(out[start : start + BLOCK])
    return bytes(out)


def one_input(data: bytes) -> None:
    """Read ``data`` as a layer in both policies, and as an importer would."""
    archive = with_checksums(data)
    for policy in ("faithful", "reference"):
        try:
            for item in TarLayerReader([archive], policy=policy, notices=Notices(keep=1)):
                if isinstance(item, (Entry, AlternateStream)) and item.data is not None and item.data.size <= MOST_DATA:
                    for _ in item.data.pieces():
                        pass
        except WclayerError:
            pass
    try:
        for _ in import_operations(Members(SlabStream([archive]))):
            pass
    except WclayerError:
        pass


def main() -> None:
    """Fuzz, or read the file that is named."""
    if len(sys.argv) == 2 and Path(sys.argv[1]).is_file():
        one_input(Path(sys.argv[1]).read_bytes())
        return
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
