"""What a layer store records of a layer and of an image, read while other programs record and forget.

Nothing is locked here: whoever lists a store need not wait for a program that collects it. So a record may be
forgotten, and made anew, between two of its files. It keeps its folder whatever becomes of the name, so it is read
through the opened folder, and counts if the name still stands for that one at the end.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError, WclayerError
from wclayer.oci import Digest

__all__ = ["IMAGE_SCHEMA", "StoredImage", "StoredLayer", "is_hex", "read_image", "read_layer"]

IMAGE_SCHEMA = "wclayer.stored-image/1"
is_hex = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer of the store. ``size`` is that of its files in bytes, ``parent`` a chain id or None for a base layer."""

    chain_id: str
    diff_id: str
    parent: str | None
    cache_id: str
    size: int
    shared: bool = False
    """Whether it was there already when it was asked for."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of the store: its layers by chain id, base first."""

    name: str
    layers: tuple[str, ...]


def read_layer(place: Path, *, shared: bool = False) -> StoredLayer:
    """The record in the folder ``place``, which is called like the layer.

    Raises NotFoundError; FormatError when it is damaged; StoreError when it cannot be read.
    """
    while True:
        try:
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFoundError(f"there is no layer sha256:{place.name} in the store") from None
        except OSError as error:
            raise _refused(place, error) from error
        try:
            found = _read_layer(folder, place, shared=shared)
            if _is_still(folder, place):
                return found
        except WclayerError:
            if _is_still(folder, place):
                raise
        finally:
            os.close(folder)


def read_image(path: Path) -> StoredImage | None:
    """The image in the file ``path``; None when it was released meanwhile. FormatError, StoreError."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_LIMIT))
        layers = [str(Digest.parse(str(one))) for one in document["layers"]]
        return StoredImage(str(document["name"]), tuple(layers))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _refused(path, error) from error
    except (ValueError, KeyError, TypeError, RecursionError, WclayerError) as error:
        raise FormatError(f"the image {path} is damaged: {error}", kind="image-record") from error


def _read_layer(folder: int, place: Path, *, shared: bool) -> StoredLayer:
    try:
        diff_id = str(Digest.parse(_text(folder, "diff")))
        cache_id = _text(folder, "cache-id")
        size = int(_text(folder, "size"))
        try:
            parent = str(Digest.parse(_text(folder, "parent")))
        except FileNotFoundError:
            parent = None
    except (FileNotFoundError, ValueError, WclayerError) as error:
        raise FormatError(f"the record {place} is damaged: {error}", kind="layer-record") from error
    except OSError as error:
        raise _refused(place, error) from error
    if not is_hex(cache_id):
        raise FormatError(f"the record {place} names no layer", kind="layer-record")
    return StoredLayer(f"sha256:{place.name}", diff_id, parent, cache_id, size, shared)


def _is_still(folder: int, place: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(folder), os.stat(place))
    except OSError:
        return False  # whoever opens it next is told why


def _refused(place: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot read the record {place}: {error.strerror}")


def _text(folder: int, name: str) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    with open(descriptor, "rb") as file:
        return file.read(_LIMIT).decode("ascii")
