"""Snapshots with the meaning that containerd's snapshotters give them, over layer folders, on any POSIX system.

::

    ROOT/snapshots.db         what there is
    ROOT/snapshots/N/         the content of the snapshot with that number: changes of an active one
    ROOT/snapshots/N.layer/   a layer folder: what was committed, or put into one that awaited a layer
    ROOT/snapshots/.wclayer/  locks

The database says what counts; a folder that it does not name was left by a program that died, and is swept.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from wclayer.errors import StoreError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter, remove_layer_folder, sweep
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import TarLayerReader, TarLayerWriter
from wclayer.model import Buffer, LayerItem, Notices, copy_layer
from wclayer.oci import Limits, open_layer
from wclayer.oci.sources import BinarySource
from wclayer.store.chain_view import ChainView
from wclayer.store.comparing import differences, view_candidates
from wclayer.store.driver.checking import disk_usage
from wclayer.store.locks import PATIENCE, StoreLocks
from wclayer.store.readwrite.body import ReadWriteBody
from wclayer.store.readwrite.tree import ROOT, WorkTree
from wclayer.store.snapshots.errors import FailedPreconditionError, InvalidArgumentError
from wclayer.store.snapshots.filters import fields_of, parse_filters
from wclayer.store.snapshots.mounts import Mount, snapshot_folder, windows_layer_mount
from wclayer.store.snapshots.records import Kind, Record, Records, SnapshotInfo, Usage

__all__ = ["SIZE_LABEL", "Snapshotter", "scratch_size"]

SIZE_LABEL = "containerd.io/snapshot/windows/rootfs.sizebytes"
OLD_SIZE_LABEL = "containerd.io/snapshot/io.microsoft.container.storage.rootfs.size-gb"

_EXTRACT = "extract-"
_LAYER = ".layer"


def scratch_size(labels: Mapping[str, str]) -> int:
    """The size of the disk that labels ask for, in bytes; 0 is the default. InvalidArgumentError for no number."""
    size = 0
    for label, bits, unit in ((OLD_SIZE_LABEL, 32, 1 << 30), (SIZE_LABEL, 64, 1)):
        text = labels.get(label)
        if text is None:
            continue
        if not (text.isascii() and text.isdigit() and int(text[:30]) < 1 << bits and len(text) <= 30):
            raise InvalidArgumentError(f'failed to parse label "{label}"="{text}": it is no number of {bits} bits')
        size = int(text) * unit
    return size


class Snapshotter:
    """The snapshots in ``root``, which is made when it is missing. Safe for threads and processes.

    Methods raise NotFoundError for what is not there, AlreadyExistsError, InvalidArgumentError,
    FailedPreconditionError as containerd's do, and StoreError.
    """

    def __init__(self, root: Path | str, *, patience: float = PATIENCE) -> None:
        self.root = Path(root).absolute()
        self.folder = self.root / "snapshots"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"cannot make {self.folder}: {error.strerror}") from error
        self._locks = StoreLocks(self.folder, patience=patience)
        self._records = Records(self.root)
        self.cleanup()

    def close(self) -> None:
        """Nothing stays open between calls, so this is harmless, however often."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ snapshots come

    def prepare(
        self,
        key: str,
        parent: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        extract: bool | None = None,
    ) -> list[Mount]:
        """An active snapshot on ``parent``, and its mounts.

        One to ``extract`` receives a layer by :meth:`apply`. Without a word on that, those are meant whose keys begin
        with ``extract-``, as containerd's unpacker names them.
        """
        awaits = key.startswith(_EXTRACT) if extract is None else extract
        return self._make(key, parent, Kind.ACTIVE, labels or {}, extract=awaits)

    def view(self, key: str, parent: str = "", *, labels: Mapping[str, str] | None = None) -> list[Mount]:
        """A snapshot of ``parent`` to look at, and its mounts."""
        return self._make(key, parent, Kind.VIEW, labels or {}, extract=False)

    def _make(self, key: str, parent: str, kind: Kind, labels: Mapping[str, str], *, extract: bool) -> list[Mount]:
        size = scratch_size(labels)
        with self._records.transaction() as database:
            record = self._records.insert(database, key, parent, kind, labels, extract=extract)
            place = self.folder / record.folder
            try:
                place.mkdir(mode=0o700)
                if kind is Kind.ACTIVE and not extract:
                    ReadWriteBody.make(place, size=size)
            except BaseException as error:
                if place.is_dir():
                    remove_layer_folder(place)
                if isinstance(error, OSError):
                    raise StoreError(f"cannot make the snapshot {key}: {error.strerror}") from error
                raise
            chain = self._records.chain(database, record)
        return [self._mount(record, chain, None)]

    def apply(
        self,
        key: str,
        tar: BinarySource,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        notices: Notices | None = None,
    ) -> str:
        """Put the layer ``tar`` into a snapshot that awaits one; its DiffID."""
        with self._held(key) as (record, chain), ExitStack() as opened:
            if record.info.kind is not Kind.ACTIVE or not record.extract:
                raise FailedPreconditionError(f"the snapshot {key} does not await a layer")
            parents = self._open(chain, opened)
            name = f"{record.number}.{secrets.token_hex(4)}{_LAYER}"
            stream = open_layer(tar, limits=limits, layer=key)
            opened.callback(stream.close)
            with LayerFolderWriter(self.folder / name, parents=parents, notices=notices) as writer:
                copy_layer(TarLayerReader(stream, notices=notices, recorder=writer.header_record()), writer)
                stream.finish()
                writer.set_facts(diff_id=str(stream.diff_id), tar_size=stream.uncompressed_size, policy="faithful")
            with self._records.transaction() as database:
                self._records.set_folder(database, record, name)
            self._drop(record.folder)
            return str(stream.diff_id)

    def commit(
        self, name: str, key: str, *, parent: str | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        """Let the active snapshot ``key`` be the committed one ``name``, with ``labels`` and no others.

        ``parent`` may be said only when :meth:`prepare` was told none.
        """
        with self._records.transaction() as database:
            self._records.commitable(database, name, key, parent)
        with self._held(key) as (record, _), ExitStack() as opened:
            with self._records.transaction() as database:
                record, below = self._records.commitable(database, name, key, parent)
                chain = [] if below is None else [below, *self._records.chain(database, below)]
            folder = record.folder
            if not folder.endswith(_LAYER):
                folder = f"{record.number}{_LAYER}"
                self._drop(folder)  # of a program that died here
                parents = self._open(chain, opened)
                made_on = parents if record.parent is not None else []
                place = self.folder / record.folder
                with LayerFolderWriter(self.folder / folder, parents=parents) as writer:
                    if not record.extract:
                        ReadWriteBody(place).pour(made_on, writer)
            try:
                with self._records.transaction() as database:
                    record, below = self._records.commitable(database, name, key, parent)
                    number = None if below is None else below.number
                    usage = self._measured(self.folder / folder)
                    self._records.commit(database, record, name, folder, number, labels or {}, usage)
            except BaseException:
                if folder != record.folder:
                    self._drop(folder)
                raise
            if folder != record.folder:
                self._drop(record.folder)

    # ------------------------------------------------------------------ snapshots go

    def remove(self, key: str) -> None:
        """Remove a snapshot; FailedPreconditionError when others stand on it."""
        with self._held(key) as (record, _):
            with self._records.transaction() as database:
                record = self._records.find(database, key)
                self._records.delete(database, record)
            self._drop(record.folder)

    def cleanup(self) -> list[Path]:
        """Remove the folders that programs left that died; those of living ones stay. What was removed."""
        removed = sweep(self.folder)
        with self._records.transaction() as database:
            known = {record.folder for record in self._records.all(database)}
            # Nobody makes a folder now; who fills one that is not recorded yet holds its number.
            for path in sorted(self.folder.iterdir()):
                if path.name.startswith(".") or path.name in known:
                    continue
                with self._locks.layer_if_free(path.name.partition(".")[0]) as free:
                    if free:
                        remove_layer_folder(path)
                        removed.append(path)
        return removed

    # ------------------------------------------------------------------ what there is

    def stat(self, key: str) -> SnapshotInfo:
        """What is known of the snapshot."""
        with self._records.transaction() as database:
            return self._records.find(database, key).info

    def update(self, info: SnapshotInfo, *fieldpaths: str) -> SnapshotInfo:
        """Take over the labels of ``info``: all, or those that ``labels.NAME`` names; what is known afterwards."""
        with self._records.transaction() as database:
            record = self._records.find(database, info.name)
            labels = dict(record.info.labels)
            for fieldpath in fieldpaths or ("labels",):
                if fieldpath == "labels":
                    labels = dict(info.labels)
                elif fieldpath.startswith("labels.") and len(fieldpath) > len("labels."):
                    name = fieldpath.removeprefix("labels.")
                    if name in info.labels:
                        labels[name] = info.labels[name]
                    else:
                        labels.pop(name, None)
                else:
                    raise InvalidArgumentError(f"cannot update {fieldpath} field on snapshot {info.name}")
            self._records.set_labels(database, record, labels)
            return self._records.find(database, info.name).info

    def walk(self, *filters: str) -> Iterator[SnapshotInfo]:
        """All snapshots that pass any of ``filters``. The snapshotter can be used meanwhile, also to change them."""
        passes = parse_filters(filters)
        with self._records.transaction() as database:
            found = [record.info for record in self._records.all(database)]
        for info in found:
            values = {"name": info.name, "parent": info.parent, "kind": info.kind.name.lower()}
            if passes(fields_of(values, info.labels)):
                yield info

    def usage(self, key: str) -> Usage:
        """What the snapshot takes: a committed one what it took when it was committed, others what they take now."""
        with self._records.transaction() as database:
            record = self._records.find(database, key)
        return record.usage if record.info.kind is Kind.COMMITTED else self._measured(self.folder / record.folder)

    def mounts(self, key: str, *, windows_root: str | None = None) -> list[Mount]:
        """How containerd would mount it: with the paths of this machine, or below ``windows_root`` of another."""
        with self._records.transaction() as database:
            record = self._records.find(database, key)
            chain = self._records.chain(database, record)
        if record.info.kind is Kind.COMMITTED:
            raise FailedPreconditionError(f"the snapshot {key} is not active or view")
        return [self._mount(record, chain, windows_root)]

    def _mount(self, record: Record, chain: Sequence[Record], windows_root: str | None) -> Mount:
        read_only = record.info.kind is Kind.VIEW
        if windows_root is None:
            place, below = str(self.folder / record.folder), [str(self.folder / one.folder) for one in chain]
        else:
            place = snapshot_folder(windows_root, str(record.number))
            below = [snapshot_folder(windows_root, str(one.number)) for one in chain]
        return windows_layer_mount(place, below, read_only=read_only)

    # ------------------------------------------------------------------ what is in them

    def tree(self, key: str) -> Path:
        """The root of the files of an active snapshot, to work in, or of a view, to look at: plain files.

        It stays as long as the snapshot is what it is; what was done in that of an active one is committed with it.
        """
        with self._held(key) as (record, chain), ExitStack() as opened:
            place = self.folder / record.folder
            if record.info.kind is Kind.COMMITTED or record.extract:
                raise FailedPreconditionError(f"the snapshot {key} is not active or view")
            parents = self._open(chain, opened)
            if record.info.kind is Kind.ACTIVE:
                body = ReadWriteBody(place)
                is_new = body.tree is None
                root = body.attach(parents).root
                if is_new and not parents:
                    (root / "Files").mkdir(exist_ok=True, mode=0o700)
                return root
            shown = place / "view"
            if not shown.is_dir():
                staged = place / f"view.{secrets.token_hex(4)}"
                staged.mkdir()
                WorkTree.write(staged, ChainView(parents), writable=False)
                staged.rename(shown)
            return shown / ROOT

    def work_tree(self, key: str) -> WorkTree:
        """The tree of an active snapshot as such, to say what NTFS shall keep about its files."""
        return WorkTree(self.tree(key).parent)

    @contextmanager
    def difference(self, key: str, against: str | None = None) -> Iterator[Iterable[LayerItem]]:
        """The layer that makes a snapshot of another one: of its parent, or of whichever ``against`` names."""
        with self._held(key) as (record, chain), ExitStack() as opened:
            parents = self._open(chain, opened)
            own = self._open([record], opened) if record.folder.endswith(_LAYER) else []
            if against is None or against == record.info.parent:
                if own:
                    yield LayerFolderReader(own[0])
                elif record.info.kind is Kind.ACTIVE and not record.extract:
                    yield opened.enter_context(ReadWriteBody(self.folder / record.folder).changes(parents))
                else:
                    yield ()
                return
            if not own and record.info.kind is Kind.ACTIVE:
                raise FailedPreconditionError(f"the snapshot {key} is not committed")
            with self._records.transaction() as database:
                older = [self._records.find(database, against)]
                older += self._records.chain(database, older[0])
            if older[0].info.kind is not Kind.COMMITTED:
                raise FailedPreconditionError(f"the snapshot {against} is not committed")
            old = ChainView(self._open(older, opened))
            yield differences(old, view_candidates(ChainView((*own, *parents)), old))

    def write_diff(self, key: str, write: Callable[[Buffer], object], against: str | None = None) -> None:
        """The same as a layer tar."""
        notices = Notices()
        tar = TarLayerWriter(write, policy="faithful", notices=notices)
        with self.difference(key, against) as items:
            copy_layer(for_tar(items, "faithful", notices), tar)
        tar.commit()

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _held(self, key: str) -> Iterator[tuple[Record, list[Record]]]:
        """The snapshot ``key`` and its parents, which nobody else changes meanwhile."""
        while True:
            with self._records.transaction() as database:
                number = self._records.find(database, key).number
            with self._locks.layer(str(number), exclusive=True):
                with self._records.transaction() as database:
                    record = self._records.find(database, key)
                    chain = self._records.chain(database, record)
                if record.number == number:
                    yield record, chain
                    return

    def _open(self, records: Sequence[Record], held: ExitStack) -> list[LayerFolder]:
        return [held.enter_context(LayerFolder(self.folder / record.folder)) for record in records]

    def _drop(self, folder: str) -> None:
        """Remove a folder that the database does not name any more."""
        place = self.folder / folder
        if place.is_dir():
            remove_layer_folder(place)

    @staticmethod
    def _measured(folder: Path) -> Usage:
        found = disk_usage(folder)
        return Usage(sum(found.values()), len(found))
