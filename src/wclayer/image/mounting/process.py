"""The process that serves a mount, and what it is told: one JSON document.

It says when the mount answers, or what went wrong, on the descriptor it is given; then it answers until somebody
unmounts. It runs on after the command that started it, so nothing of that is its own but the lock it inherits.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, remove_layer_folder
from wclayer.image.mounting.filesystem import FileSystem
from wclayer.image.mounting.fuse import serve
from wclayer.image.mounting.lower import Lower
from wclayer.image.mounting.overlay import Overlay
from wclayer.image.mounting.upper import Upper

__all__ = ["MountOrder", "identities", "run_mount", "serve_order"]

_FOR_LONG = 86400.0  # seconds that the kernel remembers what cannot change


@dataclass(frozen=True, slots=True)
class MountOrder:
    """What to mount: ``layers``, nearest first, on ``folder``; ``upper`` catches changes. ``reference`` names it.

    ``scratch`` is a folder that goes when the mount goes.
    """

    reference: str
    layers: tuple[str, ...]
    folder: str
    upper: str | None = None
    allow_other: bool = False
    scratch: str | None = None

    def to_json(self) -> str:
        """The order as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> MountOrder:
        """The reverse of :meth:`to_json`."""
        document: dict[str, Any] = json.loads(text)
        return cls(**{**document, "layers": tuple(document["layers"])})


def run_mount(order: MountOrder, started: Callable[[], None] = lambda: None) -> None:
    """Mount, and answer until it is unmounted. ``started`` is called when the mount answers."""
    with ExitStack() as held:
        lower = Lower([Path(layer) for layer in order.layers], reference=order.reference)
        held.callback(lower.close)
        upper = None
        if order.upper is not None:
            upper = Upper(Path(order.upper), writable=True)
            held.callback(upper.close)
            _record(upper, order)
        information = {
            "process": os.getpid(),
            "image": order.reference,
            "upper": None if upper is None else str(upper.path),
            "layers": list(order.layers),
        }
        folder = Path(os.path.realpath(order.folder))
        system = FileSystem(Overlay(lower, upper), folder, json.dumps(information).encode(), started)
        serve(
            system,
            folder,
            name=order.reference,
            read_only=upper is None,
            allow_other=order.allow_other,
            cached=_FOR_LONG if upper is None else 0.0,
        )


def identities(layers: tuple[str, ...] | list[str]) -> list[str]:
    """What tells layers apart from others, nearest first: their DiffIDs, or where that is not known their places."""
    known = []
    for path in layers:
        with LayerFolder(path) as folder:
            diff_id = folder.facts.get("diff_id")
        known.append(diff_id if isinstance(diff_id, str) else str(path))
    return known


def _record(upper: Upper, order: MountOrder) -> None:
    """Record what the upper folder lies over. StoreError when it was made over something else."""
    facts = upper.facts
    wanted = identities(order.layers)
    if facts.get("identities", wanted) != wanted:
        raise StoreError(
            f"the upper folder {upper.path} holds changes of another image: {facts.get('image')}",
            hint="name that image, or another folder",
        )
    upper.set_facts(image=order.reference, layers=list(order.layers), identities=wanted)


def serve_order(descriptor: int) -> None:
    """The program of the process: an order comes on standard input, and an answer goes to ``descriptor``."""
    order = MountOrder.from_json(sys.stdin.read())
    try:
        run_mount(order, lambda: _answer(descriptor, {"mounted": True}))
    except WclayerError as error:
        _answer(descriptor, {"error": error.message, "hint": error.hint, "code": error.exit_code})
    except OSError as error:
        _answer(descriptor, {"error": str(error), "hint": None, "code": StoreError.exit_code})
    finally:
        if order.scratch is not None:
            remove_layer_folder(Path(order.scratch))


def _answer(descriptor: int, document: dict[str, Any]) -> None:
    try:
        os.write(descriptor, json.dumps(document).encode())
        os.close(descriptor)
    except OSError:
        return  # whoever asked has gone, or has been answered
