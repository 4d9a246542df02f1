"""What is found in a host's store, whichever program keeps it: layers, images, findings, steps, events.

Docker and containerd write the same facts down in different ways. Readers turn both into these records, and whoever
prints them, or plans from them, need not know which it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

__all__ = [
    "MAX_DEPTH",
    "Event",
    "Finding",
    "HostImage",
    "HostLayer",
    "HostStore",
    "LayerUsage",
    "Severity",
    "Step",
    "StepKind",
    "in_order",
    "nanoseconds",
    "nanoseconds_text",
]

MAX_DEPTH = 125
"""The longest chain of layers that Docker makes."""

Severity = Literal["error", "warning"]
StepKind = Literal[
    "stop-service",
    "move-aside",
    "move-back",
    "write-chain",
    "drop-record",
    "pull",
    "import-layer",
    "start-service",
    "look",
]
"""``look`` is what a person must decide; ``drop-record`` is done by the program that keeps the record."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class HostLayer:
    """A layer, a scratch layer of a container, or a snapshot.

    ``id`` is the name of its folder; ``name`` what the program calls it (a chain id, a container, a snapshot's key).
    ``parents`` are ids, nearest first; one that is not in the store is None.
    """

    id: str
    kind: str
    """``layer``, ``scratch``, ``init``, ``committed``, ``active``, ``view``; ``lost`` (only a record is left),
    ``removing`` (its removal did not end) or ``orphan`` (only a folder is left).
    """
    name: str | None = None
    path: str | None = None
    """Where its folder is, or None where there is none."""
    parents: tuple[str | None, ...] = ()
    diff_id: str | None = None
    chain_id: str | None = None
    size: int | None = None
    """Bytes, as the program wrote them down."""
    created: int | None = None
    """Nanoseconds since 1970-01-01 UTC, as the program wrote it down, else when the folder was last modified."""
    images: list[str] = field(default_factory=list)
    """What the images that stand on it are called."""
    held_by: list[str] = field(default_factory=list)
    """What keeps it from being removed: images, containers, mounts, layers on top of it, leases."""


@dataclass(slots=True)
class HostImage:
    """An image; ``id`` is the digest of its configuration (Docker) or of what its name stands for (containerd)."""

    id: str
    names: tuple[str, ...] = ()
    platform: str | None = None
    created: int | None = None
    """Nanoseconds since 1970-01-01 UTC."""
    layers: tuple[str | None, ...] = ()
    """The ids of its layers, base first as in a manifest; None for one that is not in the store."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: an error where something is lost or will fail, else a warning."""

    code: str
    severity: Severity
    subject: str
    """The layer, image, file or record it is about, as the store calls it."""
    detail: str
    namespace: str = ""
    """The namespace of containerd that it is in, where that matters."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that a person may do, and why. Nothing here does it."""

    kind: StepKind
    target: str
    """A path below the root, ``/``-separated, or a reference."""
    why: str
    to: str | None = None
    """Where ``target`` goes, or the digest that ``pull`` and ``import-layer`` want."""
    content: str | None = None
    """What ``write-chain`` writes."""
    commands: tuple[str, ...] = ()
    """The same for PowerShell on the host, where the store is below ``$root``."""
    findings: tuple[str, ...] = ()
    """The codes of the findings that it answers."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, as far as the store still knows."""

    time: int
    """Nanoseconds since 1970-01-01 UTC."""
    what: str
    subject: str
    detail: str
    source: str
    """Where that is written: the path of a file below the root."""


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """What the folder of a layer takes. A file with several names in a store counts once, with the first of them."""

    layer: HostLayer
    files: int
    size: int
    """Bytes of the main streams."""
    allocated: int | None
    """Bytes on the disk, where the file system tells."""


class HostStore(Protocol):
    """A store of a Windows host."""

    @property
    def kind(self) -> str:
        """``windowsfilter`` or ``containerd``."""

    @property
    def place(self) -> str:
        """Where it is: the root that was looked at, and the folder below it."""

    def layers(self) -> list[HostLayer]:
        """All layers, those that nobody knows any more too. Raises StoreError, FormatError."""

    def images(self) -> list[HostImage]:
        """All images. Raises StoreError, FormatError."""

    def findings(self, *, content: bool = False) -> list[Finding]:
        """What is wrong; with ``content`` also with the data of the layers and blobs, which reads all of them."""

    def steps(self) -> list[Step]:
        """What could be done about the findings, in an order that works."""

    def events(self) -> list[Event]:
        """What happened, oldest first."""

    def usage(self) -> list[LayerUsage]:
        """What each layer takes. Raises StoreError."""


def nanoseconds(text: str) -> int | None:
    """An RFC 3339 time, as Go writes it, in nanoseconds since 1970; None for what is none, and for Go's zero time."""
    head, dot, tail = text.partition(".")
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))] if dot else ""
    zone = tail[len(digits) :] if dot else ""
    try:
        moment = datetime.fromisoformat(head + zone)
    except ValueError:
        return None
    if moment.tzinfo is None or moment.year <= 1:
        return None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * 10**9 + int(digits[:9].ljust(9, "0"))


def nanoseconds_text(time: int) -> str:
    """``time`` (nanoseconds since 1970) as RFC 3339 in UTC, with as many digits as it needs."""
    seconds, rest = divmod(time, 10**9)
    try:
        moment = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return f"@{time}"
    return f"{moment}.{rest:09d}".rstrip("0").rstrip(".") + "Z"


def in_order(events: Iterable[Event]) -> list[Event]:
    """``events``, oldest first; those of one time in the order of their words."""
    return sorted(events, key=lambda event: (event.time, event.what, event.subject, event.detail))
