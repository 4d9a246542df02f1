"""Collecting what nobody needs, and saying what there is.

Needed is what the entries of ``index.json`` lead to, and what leases name (:mod:`wclayer.oci.content.leases`). A name
was used when its manifest was last opened, which the time of that file says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import IntegrityError, UnsupportedError, WclayerError
from wclayer.oci.content.leases import leased_digests
from wclayer.oci.content.locks import FileLock
from wclayer.oci.content.store import BLOBS, INGEST, LEASES, ContentStore
from wclayer.oci.descriptors import CONFIG_LIMIT, MANIFEST_LIMIT, Descriptor, ImageConfig, Index, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.layout import Layout, entry_names
from wclayer.oci.sources import store_error
from wclayer.oci.trees import FolderTree

__all__ = ["Collected", "StoredName", "Usage", "collect", "usage"]

PARTIAL_AGE = 7 * 86400
"""Seconds that a blob may wait for somebody to go on fetching it."""

_TEMPORARY_AGE = 86400
_TEMPORARY = re.compile(r"\.wclayer-[0-9a-f-]+", re.ASCII)
_PARTIAL = re.compile(r"(sha256|sha512)-([0-9a-f]+)(\.[a-z]+)?", re.ASCII)


@dataclass(slots=True)
class Collected:
    """What was removed, or would be: names, blobs, and files of downloads that nobody goes on with; sizes in bytes."""

    names: list[str] = field(default_factory=list)
    blobs: int = 0
    partials: int = 0
    size: int = 0
    leased: int = 0
    """Blobs that are kept only because a running program uses them."""


@dataclass(slots=True)
class StoredName:
    """An image by its name: what it leads to. ``size`` is in bytes, of what is here; ``missing`` counts what is not.

    An index leads to images of many platforms, of which a store need not have all.
    """

    name: str
    descriptor: Descriptor
    used: float
    blobs: int = 0
    size: int = 0
    missing: int = 0


@dataclass(slots=True)
class Usage:
    """What a store holds; sizes in bytes. What several names share is counted once in the whole."""

    folder: Path
    names: list[StoredName] = field(default_factory=list)
    blobs: int = 0
    size: int = 0
    unneeded: int = 0
    unneeded_size: int = 0
    partials: int = 0
    partial_size: int = 0


def usage(store: ContentStore) -> Usage:
    """What there is in ``store``. Raises StoreError, and what a damaged index raises."""
    found = Usage(store.folder)
    if not store.exists():
        return found
    present = {digest: size for digest, _, size in _blobs(store.folder)}
    needed: set[Digest] = set()
    for entry in _entries(store):
        reached = _reach(store, entry)
        needed |= reached.keys()
        for name in entry_names(entry)[:1]:
            here = [digest for digest in reached if digest in present]
            size = sum(present[digest] for digest in here)
            missing = sum(wanted for digest, wanted in reached.items() if digest not in present)
            found.names.append(StoredName(name, entry, _used(store, entry.digest), len(here), size, missing))
    found.names.sort(key=lambda one: one.name)
    found.blobs, found.size = len(present), sum(present.values())
    unneeded = [size for digest, size in present.items() if digest not in needed]
    found.unneeded, found.unneeded_size = len(unneeded), sum(unneeded)
    partials = [size for _, files in _partials(store.folder) for size in [_size_of(files)] if size]
    found.partials, found.partial_size = len(partials), sum(partials)
    return found


def collect(
    store: ContentStore,
    *,
    everything: bool = False,
    unused_for: float | None = None,
    dry_run: bool = False,
    now: Callable[[], float] = time.time,
) -> Collected:
    """Remove what no name leads to and no running program uses, and downloads that were given up a week ago.

    ``unused_for`` first forgets the names that were not used for so many seconds, ``everything`` all of them, and
    downloads of any age. With ``dry_run`` nothing is removed. Raises StoreError, and what a damaged index raises.
    """
    done = Collected()
    if not store.exists():
        return done
    with store.lock.held(exclusive=True):
        leased = leased_digests(store.folder / LEASES) if (store.folder / LEASES).is_dir() else set()
        needed: set[Digest] = set()
        for entry in _entries(store):
            names = entry_names(entry)
            is_old = unused_for is not None and now() - _used(store, entry.digest) > unused_for
            if names and (everything or is_old) and entry.digest not in leased:
                done.names.append(names[0])
            else:
                needed |= _reach(store, entry).keys()
        if done.names and not dry_run:
            store.untag(done.names)
        for digest, path, size in list(_blobs(store.folder)):
            if digest in needed:
                continue
            if digest in leased:
                done.leased += 1
                continue
            done.blobs += 1
            done.size += size
            if not dry_run:
                _remove(path)
        _collect_partials(store, done, 0 if everything else PARTIAL_AGE, now(), dry_run=dry_run)
        if not dry_run:
            _sweep(store.folder, now())
    done.names.sort()
    return done


def _entries(store: ContentStore) -> tuple[Descriptor, ...]:
    if not (store.folder / "index.json").exists():
        return ()
    return Layout(FolderTree(store.folder)).index.manifests


def _reach(store: ContentStore, root: Descriptor) -> dict[Digest, int]:
    """Everything that ``root`` leads to, as far as it can be read here: 1 for what an image needs, 0 for what it may.

    A layer may also be kept under its DiffID. Of an index only what is here counts as needed.
    """
    reached: dict[Digest, int] = {}
    pending = [(root, 1)]
    while pending:
        descriptor, wanted = pending.pop()
        if reached.get(descriptor.digest, -1) >= wanted:
            continue
        reached[descriptor.digest] = wanted
        role = descriptor.type.role
        try:
            if role in ("manifest", "index"):
                raw = store.read(descriptor.digest, MANIFEST_LIMIT, what=str(descriptor.digest))
                if raw is None:
                    continue
                document = parse_document(raw, descriptor.media_type, what=str(descriptor.digest))
                if isinstance(document, Index):
                    pending += [(child, int(store.blob(child.digest) is not None)) for child in document.manifests]
                else:
                    pending += [(child, wanted) for child in (document.config, *document.layers)]
                if document.subject is not None:
                    pending.append((document.subject, 0))
            elif role == "config":
                raw = store.read(descriptor.digest, CONFIG_LIMIT, what=str(descriptor.digest))
                if raw is not None:
                    for diff_id in ImageConfig.parse(raw).diff_ids:
                        reached.setdefault(diff_id, 0)
        except (IntegrityError, UnsupportedError):
            continue  # nothing can be read out of it, so it leads nowhere
    return reached


def _blobs(folder: Path) -> Iterator[tuple[Digest, Path, int]]:
    """Every blob of the layout, with its size."""
    for algorithm in sorted(_list(folder / BLOBS)):
        for path in sorted(_list(algorithm)):
            try:
                yield Digest(algorithm.name, path.name), path, path.stat().st_size
            except FileNotFoundError:
                continue  # somebody else collects
            except WclayerError:
                continue  # no blob: whoever put it there may know
            except OSError as error:
                raise store_error(error, f"cannot look at {path}") from error


def _partials(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """The files of each blob that is being fetched, or was."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(_list(folder / INGEST)):
        if match := _PARTIAL.fullmatch(path.name):
            groups.setdefault(f"{match[1]}-{match[2]}", []).append(path)
    yield from groups.items()


def _collect_partials(store: ContentStore, done: Collected, age: float, now: float, *, dry_run: bool) -> None:
    for name, files in list(_partials(store.folder)):
        lock = FileLock(store.folder / INGEST / f"{name}.lock")
        if not lock.acquire():
            continue  # somebody is at it
        try:
            times = [_time_of(path) for path in files if path.suffix != ".lock"]
            if times and now - max(times) < age:
                continue
            done.partials += bool(times)
            done.size += _size_of(files)
            if not dry_run:
                for path in files:
                    if path.suffix != ".lock":
                        _remove(path)
        finally:
            lock.release(remove=True)


def _sweep(folder: Path, now: float) -> None:
    """Remove files that programs were writing when they died."""
    for path in _list(folder):
        if _TEMPORARY.fullmatch(path.name) and now - _time_of(path) > _TEMPORARY_AGE:
            _remove(path)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise store_error(error, f"cannot list {folder}") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise store_error(error, f"cannot remove {path}") from error


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _size_of(files: list[Path]) -> int:
    """The room that files take; a blob that is being fetched may have holes."""
    total = 0
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        total += min(status.st_size, status.st_blocks * 512) if hasattr(status, "st_blocks") else status.st_size
    return total


def _used(store: ContentStore, digest: Digest) -> float:
    path = store.blob(digest)
    return _time_of(path) if path is not None else 0.0
