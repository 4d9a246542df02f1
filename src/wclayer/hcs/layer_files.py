"""Small files and folders that tell about a layer: its build, its utility VM, and what stands on it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError
from wclayer.formats.folder import read_layer_chain

__all__ = [
    "BUILD_FILE",
    "UTILITY_VM",
    "find_children",
    "is_leftover",
    "locate_uvm_folder",
    "read_uvm_build",
    "write_uvm_build",
]

UTILITY_VM = "UtilityVM"
BUILD_FILE = "uvmbuildversion"

_BUILD = re.compile(rb"[0-9]{1,20}").fullmatch
# Docker and containerd rename a layer before they delete it; what a crash left is no layer any more.
_LEFTOVER = re.compile(r"(?:.+-removing|rm-.+|\..+\.wclayer-[0-9a-f]{16})", re.DOTALL).fullmatch


def read_uvm_build(layer: Path) -> int:
    """The build of the utility VM that the file ``uvmbuildversion`` names: a decimal below 65536, and nothing else.

    Raises NotFoundError when there is no such file, FormatError for any other content, a line end among them.
    """
    path = layer / BUILD_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"there is no {path}") from None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if not _BUILD(text) or int(text) > 0xFFFF:
        raise FormatError(f"{path} holds {text[:40]!r} instead of a build number", kind="build-number")
    return int(text)


def write_uvm_build(layer: Path, build: int) -> None:
    """Write the file. Raises FormatError for a number that is no build, StoreError."""
    if not 0 <= build <= 0xFFFF:
        raise FormatError(f"{build} is no build number", kind="build-number")
    try:
        (layer / BUILD_FILE).write_bytes(b"%d" % build)
    except OSError as error:
        raise StoreError(f"cannot write {layer / BUILD_FILE}: {error.strerror}") from error


def locate_uvm_folder(layers: Iterable[Path]) -> Path:
    """The first of ``layers``, nearest first, that has a ``UtilityVM``: hcsshim's ``LocateUVMFolder``.

    It is the layer that is returned, not the folder in it. Raises NotFoundError when none has one, and StoreError at
    once when a layer cannot be looked at.
    """
    searched = []
    for layer in layers:
        path = layer / UTILITY_VM
        try:
            path.stat()
        except FileNotFoundError:
            searched.append(str(layer))
        except OSError as error:
            raise StoreError(f"cannot look at {path}: {error.strerror}") from error
        else:
            return layer
    where = ", ".join(searched) or "there are none"
    raise NotFoundError(f"utility VM folder could not be found in layers ({where})")


def find_children(layer: Path) -> list[Path]:
    """The layers beside ``layer`` whose ``layerchain.json`` names it. One that cannot be read does not count."""
    try:
        siblings = sorted(layer.absolute().parent.iterdir())
    except OSError:
        return []
    wanted = layer.absolute()
    children = []
    for sibling in siblings:
        if sibling == wanted or is_leftover(sibling.name) or not sibling.is_dir():
            continue
        try:
            parents = read_layer_chain(sibling)
        except (FormatError, StoreError):
            continue
        if wanted in parents or any(parent.name == wanted.name for parent in parents):
            children.append(sibling)
    return children


def is_leftover(name: str) -> bool:
    """Whether a folder of this name is a layer that somebody was about to remove, or had not finished."""
    return bool(_LEFTOVER(name))
