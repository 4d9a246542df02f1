"""A layer tar on standard input that has to be read more than once: it goes to a temporary file first."""

from __future__ import annotations

import tempfile

from wclayer.oci import Image, LayerBlob, StoredBlob
from wclayer.oci.rawlayer import open_stdin
from wclayer.oci.sources import SharedFile, store_error
from wclayer.writing import write_whole

__all__ = ["spooled_stdin"]

_PIECE = 1 << 20


def spooled_stdin() -> Image:
    """The layer on standard input, kept in a file without a name (in ``TMPDIR``) for as long as the image is open.

    Raises StoreError when there is no room for it, UsageError when standard input is a terminal.
    """
    source = open_stdin()
    buffer = memoryview(bytearray(_PIECE))
    size = 0
    try:
        file = tempfile.TemporaryFile(buffering=0, prefix="wclayer-")  # noqa: SIM115 - the image closes it
        try:
            while count := source.readinto(buffer):
                size += count
                write_whole(file.write, buffer[:count])
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise store_error(error, f"cannot keep standard input in {tempfile.gettempdir()}") from error
    shared = SharedFile(file)
    stored = StoredBlob(lambda: shared.section(0, size), size)
    return Image("-", None, None, [LayerBlob(0, 1, None, None, lambda: stored)], close=shared.close)
