"""The folder that an unpacked image is: its layers, the chain, and what the image said of itself.

::

    DIR/layerchain.json       the layer folders, nearest first, as Docker writes such a list
    DIR/image.json            where the image came from, its layers base first
    DIR/manifest.json         the documents as they were, byte for byte, where the image had them
    DIR/config.json
    DIR/layers/CHAINID/       one layer folder each, named by the hex digits of its chain id
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wclayer.errors import FormatError, NotFoundError, StoreError
from wclayer.image.whole import sweep_files

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from wclayer.oci import Digest

__all__ = [
    "CHAIN_FILE",
    "CONFIG_FILE",
    "IMAGE_FILE",
    "LAYERS",
    "LOCK_FILE",
    "MANIFEST_FILE",
    "SCHEMA",
    "UnpackedImage",
    "chain_ids",
    "locked",
    "refuse_others",
    "refuse_unfinished",
]

CHAIN_FILE, IMAGE_FILE, LAYERS = "layerchain.json", "image.json", "layers"
MANIFEST_FILE, CONFIG_FILE, LOCK_FILE = "manifest.json", "config.json", ".wclayer.lock"
SCHEMA = "wclayer.image/1"
_OWN = frozenset((CHAIN_FILE, IMAGE_FILE, LAYERS, MANIFEST_FILE, CONFIG_FILE, LOCK_FILE))
_MAX_DOCUMENT = 16 << 20


def chain_ids(diff_ids: list[Digest]) -> list[Digest]:
    """The chain id of each layer, base first (OCI image specification, config.md, "Layer ChainID")."""
    from wclayer.oci.digests import digest_of

    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(digest_of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return chain


@dataclass(frozen=True, slots=True)
class UnpackedImage:
    """An image that was unpacked to ``folder``. ``layers`` are its layer folders, nearest first."""

    folder: Path
    reference: str
    diff_ids: tuple[str, ...]
    layers: tuple[Path, ...]
    document: dict[str, Any]

    @classmethod
    def is_one(cls, folder: Path) -> bool:
        """Whether ``folder`` is an unpacked image, complete."""
        return (folder / IMAGE_FILE).is_file()

    @classmethod
    def load(cls, folder: Path) -> UnpackedImage:
        """Read ``image.json``. NotFoundError when there is none, FormatError when it is damaged."""
        path = folder / IMAGE_FILE
        try:
            with path.open("rb") as file:
                document = json.loads(file.read(_MAX_DOCUMENT))
        except FileNotFoundError:
            raise NotFoundError(f"{folder} is no unpacked image: it has no {IMAGE_FILE}") from None
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{path} is no JSON: {error}", hint="unpack the image again") from None
        try:
            names = [str(layer["folder"]) for layer in document["layers"]]
            diff_ids = tuple(str(layer["diff_id"]) for layer in document["layers"])
            reference = str(document["reference"])
        except (KeyError, TypeError) as error:
            raise FormatError(f"{path} is damaged: {error!r} is missing", hint="unpack the image again") from None
        if any(not name or "/" in name or name.startswith(".") for name in names):
            raise FormatError(f"{path} names a layer outside of its folder", hint="unpack the image again")
        layers = tuple(folder / LAYERS / name for name in reversed(names))
        return cls(folder, reference, diff_ids, layers, document)


def refuse_others(folder: Path) -> None:
    """StoreError when ``folder`` holds anything that no unpacking put there. What a killed one left is removed."""
    for name in (MANIFEST_FILE, CONFIG_FILE, CHAIN_FILE, IMAGE_FILE):
        sweep_files(folder / name)
    strangers = sorted({path.name for path in folder.iterdir()} - _OWN)
    if strangers:
        raise StoreError(
            f"{folder} is not empty and is no unpacked image: it holds {strangers[0]}",
            hint="name a new or an empty folder",
        )


def refuse_unfinished(folder: Path) -> None:
    """Raise NotFoundError when ``folder`` is what an interrupted unpacking left."""
    if (folder / LOCK_FILE).is_file() and (folder / LAYERS).is_dir() and not (folder / IMAGE_FILE).exists():
        raise NotFoundError(
            f"{folder} holds an image that was not unpacked to its end",
            hint="run the same wclayer unpack again: it goes on where it stopped",
        )


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder for one process; another one waits. The lock goes with the process, however that ends.

    It is the descriptor that is yielded: a process that inherits it holds the lock as well, as long as it lives.
    After an error a folder without a single layer is as it was: neither the lock nor ``layers`` stay.
    """
    try:
        descriptor = _lock(folder)
    except OSError as error:
        raise StoreError(f"cannot lock {folder}: {error.strerror}") from error
    try:
        yield descriptor
    except BaseException:
        _remove_empty(folder)
        raise
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    path = folder / LOCK_FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except FileNotFoundError:
            continue  # whoever had it failed and removed the folder
        try:
            if sys.platform == "win32":
                return descriptor
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass  # the same, while this one waited
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _remove_empty(folder: Path) -> None:
    layers = folder / LAYERS
    if layers.is_dir():
        if any(layers.iterdir()):
            return
        layers.rmdir()
    (folder / LOCK_FILE).unlink(missing_ok=True)
