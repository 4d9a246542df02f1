"""Docker's graph driver ``windowsfilter`` (moby ``daemon/graphdriver/windows``) over layer folders, on POSIX systems.

The operations and what they give are Docker's; where Docker's have defects these do it right: options are checked and
parents looked for before anything is made, every error leaves nothing behind, everybody who mounts a layer gets the
same path, and closing a diff waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, remove_layer_folder
from wclayer.formats.folder.staging import Staging
from wclayer.formats.tar import TarLayerReader
from wclayer.model import Notices, copy_layer
from wclayer.oci import Digest, Limits, open_layer
from wclayer.oci.digests import digest_of
from wclayer.oci.sources import BinarySource
from wclayer.store.driver.differing import Change, LayerDifference, difference
from wclayer.store.driver.getter import DiffGetter
from wclayer.store.driver.home import CHAIN, REMOVING, REPLACING, DriverHome, is_layer_folder
from wclayer.store.driver.mounting import Counts, FolderMounts, LayerMounts
from wclayer.store.driver.options import parse_options, parse_storage_options
from wclayer.store.driver.piped import PipedTar
from wclayer.store.driver.pristine import copies_kept
from wclayer.store.driver.removal import Removed, destroy, sweep_home
from wclayer.store.locks import PATIENCE, LayerInUseError
from wclayer.store.readwrite.body import ReadWriteBody

__all__ = ["Applied", "WindowsFilterDriver"]


@dataclass(frozen=True, slots=True)
class Applied:
    """A layer that came from a tar. ``size`` is the sum of the sizes of its files in bytes, as Docker's ApplyDiff says.

    ``chain_id`` names it with all it stands on, None when that is not known.
    """

    size: int
    diff_id: str
    chain_id: str | None
    notices: dict[str, int] = field(default_factory=dict)


class WindowsFilterDriver:
    """The driver at ``home``, which is made when it is missing; what dead programs left is removed at once.

    ``options`` are those of Docker's ``storage-opts``. ``mounts`` says what Get does: give the folder of a layer, or
    its merged tree (:class:`~wclayer.store.driver.mounting.MergedMounts`). ``patience`` is how long an operation waits
    for a layer that somebody else uses, in seconds. Without ``sweep`` leftovers stay as they are. With ``disks`` a
    read-write layer also gets an empty ``sandbox.vhdx``, for Windows. Safe for threads, and for several processes at
    one home.

    Methods raise NotFoundError for a layer that is not there, UsageError for a name that is none, StoreError.
    """

    def __init__(
        self,
        home: Path | str,
        options: Iterable[str] = (),
        *,
        mounts: LayerMounts | None = None,
        patience: float = PATIENCE,
        sweep: bool = True,
        disks: bool = False,
    ) -> None:
        self.options = parse_options(options)
        self.home = DriverHome(Path(home), patience=patience)
        self.mounts: LayerMounts = FolderMounts() if mounts is None else mounts
        self.counts = Counts(self.home)
        self.disks = disks
        if sweep:
            self.cleanup()

    def close(self) -> None:
        """Let go of everything this driver has mounted."""
        self.counts.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __str__(self) -> str:
        return "windowsfilter"

    def status(self) -> list[tuple[str, str]]:
        """What ``docker info`` shows."""
        return [("Windows", "")]

    def exists(self, name: str) -> bool:
        """Whether there is a layer ``name``; any error means no."""
        try:
            return self.home.exists(self.home.resolve(name))
        except WclayerError:
            return False

    def layer_path(self, name: str) -> Path:
        """The folder of the layer, whether it is there or not; an alias is not resolved."""
        return self.home.path(self.home.checked(name))

    def metadata(self, name: str) -> dict[str, str]:
        """What the driver knows besides."""
        return {"dir": str(self.layer_path(name))}

    # ------------------------------------------------------------------ layers come

    def create(self, name: str, parent: str = "", storage_options: Mapping[str, str] | None = None) -> None:
        """Make the read-only layer ``name`` on ``parent``, to be filled by :meth:`apply_diff`."""
        parse_storage_options(storage_options)
        self._create(name, parent, lambda _folder: None)

    def create_read_write(self, name: str, parent: str = "", storage_options: Mapping[str, str] | None = None) -> None:
        """Make the read-write layer ``name`` on ``parent``. The option ``size`` is that of its disk on Windows."""
        size = parse_storage_options(storage_options).size or self.options.default_size

        def fill(folder: Path) -> None:
            ReadWriteBody.make(folder, size=size)
            if self.disks:
                from wclayer.store.driver.disks import ScratchDisks

                ScratchDisks(self.home).make(folder, size)

        self._create(name, parent, fill)

    def _create(self, name: str, parent: str, fill: Callable[[Path], object]) -> None:
        home = self.home
        home.checked(name)
        with ExitStack() as held:
            if parent:
                parent = home.resolve(parent)
            held.enter_context(home.held(name, exclusive=True))
            if home.exists(name):
                raise StoreError(f"there is a layer {name} already", layer=name)
            if parent:
                home.check_parents(name, (parent,))
                held.enter_context(home.held(parent, exclusive=False))  # nobody fills it anew meanwhile
            chain = home.chain_below(parent) if parent else ()
            staging = Staging(home.path(name))
            try:
                (staging.path / CHAIN).write_bytes(home.chain_text(chain))
                fill(staging.path)
                with home.locks.names():
                    home.check_parents(name, (parent, *chain) if parent else chain)
                    staging.publish()
            except OSError as error:
                raise StoreError(f"cannot make the layer {name}: {error.strerror}", layer=name) from error
            finally:
                staging.discard()

    def apply_diff(
        self,
        name: str,
        parent: str | None,
        diff: BinarySource,
        *,
        diff_id: str | None = None,
        strict: bool = False,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> Applied:
        """Fill the layer ``name``, which :meth:`create` made, from a layer tar, compressed or not.

        ``parent`` None means what it was created on. ``diff_id`` is the digest the uncompressed tar must have. The
        layer is the old or the new one at each moment. StoreError while it is mounted, and when others stand on it.
        """
        home = self.home
        name = home.resolve(name)
        below = None if parent is None else home.resolve(parent) if parent else ""
        promised = Digest.parse(diff_id) if diff_id else None
        with home.existing(name, exclusive=True) as path, ExitStack() as held:
            self._refuse_use(name, "filled")
            if ReadWriteBody.is_one(path):
                raise StoreError("it is read-write, and no layer can be put into it", layer=name)
            if is_layer_folder(path) and (children := home.children(name)):
                raise LayerInUseError(f"the layer {children[0]} stands on it, so it stays as it is", layer=name)
            chain = home.chain(name)
            if below is not None:
                wanted = home.chain_below(below) if below else ()
                if wanted != chain:
                    home.set_chain(name, wanted)
                    chain = wanted
            if chain:
                held.enter_context(home.held(chain[0], exclusive=False))
            parents = [held.enter_context(LayerFolder(home.path(one))) for one in chain]
            notices = Notices(strict=strict)
            copies: dict[str, bytes] = {}
            stream = open_layer(diff, diff_id=promised, limits=limits, layer=name)
            held.callback(stream.close)
            writer = LayerFolderWriter(path.with_name(name + REPLACING), parents=parents, notices=notices)
            with writer:
                reader = TarLayerReader(stream, notices=notices, recorder=writer.header_record())
                copy_layer(copies_kept(reader, copies), writer)
                stream.finish()
                for copy, content in copies.items():
                    writer.put_pristine(copy, content)
                chain_id = _chain_id(parents, stream.diff_id)
                writer.set_facts(
                    diff_id=str(stream.diff_id), chain_id=chain_id, tar_size=stream.uncompressed_size, policy="faithful"
                )
            home.settle(name)
            return Applied(reader.size, str(stream.diff_id), chain_id, dict(notices.counts))

    def commit(self, name: str, source: str) -> None:
        """Make the read-only layer ``name`` of what the read-write layer ``source`` changed."""
        home = self.home
        source = home.resolve(source)
        with home.existing(source, exclusive=False), difference(home, source, None) as made:
            if not ReadWriteBody.is_one(home.path(source)):
                raise StoreError(f"{source} is not read-write", layer=source)
            chain = home.chain(source)
            self.create(name, chain[0] if chain else "")
            try:
                with home.existing(name, exclusive=True) as path, ExitStack() as held:
                    parents = [held.enter_context(LayerFolder(home.path(one))) for one in chain]
                    with LayerFolderWriter(path.with_name(name + REPLACING), parents=parents) as writer:
                        copy_layer(made.items(), writer)
                    home.settle(name)
            except BaseException:
                self.remove(name)
                raise

    # ------------------------------------------------------------------ layers go

    def remove(self, name: str) -> Removed:
        """Remove the layer ``name``; harmless when it is not there.

        It is renamed at first, so that it is gone at once; what could not be deleted then is said, and goes with a
        later :meth:`cleanup`. StoreError while it is mounted, when others stand on it, and when it cannot be renamed.
        """
        home = self.home
        name = home.resolve(name)
        with home.held(name, exclusive=True) as path:
            old = path.with_name(name + REMOVING)
            existed = path.is_dir()
            if existed:
                self._refuse_use(name, "removed")
                if old.is_dir():
                    remove_layer_folder(old)
                with home.locks.names():
                    if children := home.children(name):
                        raise LayerInUseError(
                            f"the layer {children[0]} stands on it", layer=name, hint="remove what stands on it first"
                        )
                    try:
                        path.rename(old)
                    except OSError as error:
                        raise StoreError(f"cannot remove the layer: {error.strerror}", layer=name) from error
            removed = destroy(home, name, existed=existed)
            self.mounts.deactivate(home, name)
            home.locks.forget(name)
            return removed

    def cleanup(self) -> list[Removed]:
        """Finish what dead programs began, and delete what they left; what cannot be deleted now stays for later.

        Layers that somebody uses are left alone. The result is what was being removed.
        """
        return sweep_home(self.home, self.mounts, self.counts)

    # ------------------------------------------------------------------ mounts

    def get(self, name: str) -> str:
        """Mount the layer, or count one more who uses it; where it is mounted, the same for everybody."""
        home, mounts, counts = self.home, self.mounts, self.counts
        name = home.resolve(name)
        with home.existing(name, exclusive=True) as path, ExitStack() as undo:
            kinds = counts.kinds(name)
            if kinds - {mounts.kind}:
                raise LayerInUseError(f"it is mounted in another way already: {', '.join(sorted(kinds))}", layer=name)
            if not kinds:
                chain = home.chain(name)
                mounts.activate(home, name)
                undo.callback(mounts.deactivate, home, name)
                mounts.prepare(home, name, chain)
                undo.callback(mounts.unprepare, home, name)
            where = mounts.mount_path(home, name) or str(path)
            counts.add(name, 1, kind=mounts.kind)
            undo.pop_all()
            return where

    def put(self, name: str) -> None:
        """Count one less; unmount the layer with the last. Harmless for a layer that this driver did not mount."""
        home, mounts, counts = self.home, self.mounts, self.counts
        name = home.resolve(name)
        with home.held(name, exclusive=True):
            if counts.mine(name) == 0:
                return
            if counts.total(name) == 1:
                mounts.unprepare(home, name)
                mounts.deactivate(home, name)
            counts.add(name, -1, kind=mounts.kind)

    def _refuse_use(self, name: str, what: str) -> None:
        if self.counts.total(name):
            raise LayerInUseError(f"it is mounted, so it cannot be {what}", layer=name, hint="unmount it first")

    # ------------------------------------------------------------------ what layers change

    @contextmanager
    def difference(self, name: str, parent: str | None = None) -> Iterator[LayerDifference]:
        """The layer against ``parent`` while the block runs: None is what it stands on, "" is nothing at all."""
        name = self.home.resolve(name)
        below = self.home.resolve(parent) if parent else parent
        with ExitStack() as held:
            held.enter_context(self.home.existing(name, exclusive=False))
            if below and below not in (name, *self.home.chain(name)):
                held.enter_context(self.home.existing(below, exclusive=False))
            yield held.enter_context(difference(self.home, name, below))

    def diff(self, name: str, parent: str | None = None, *, notices: Notices | None = None) -> PipedTar:
        """The layer tar of :meth:`difference`, to be read and closed. Nobody changes the layer until it is closed."""
        held = ExitStack()
        found = held.enter_context(self.difference(name, parent))
        kept = Notices() if notices is None else notices
        try:
            return PipedTar(lambda write: found.write_tar(write, kept), held.close)
        except BaseException:
            held.close()
            raise

    def changes(self, name: str, parent: str | None = None) -> list[Change]:
        """What the layer adds, modifies and deletes."""
        with self.difference(name, parent) as found:
            return list(found.changes())

    def diff_size(self, name: str, parent: str | None = None) -> int:
        """The sum of the sizes of the files in the difference, in bytes."""
        with self.difference(name, parent) as found:
            return found.size()

    def diff_getter(self, name: str) -> DiffGetter:
        """The files of the layer itself by name; nobody changes it until that is closed."""
        name = self.home.resolve(name)
        held = ExitStack()
        path = held.enter_context(self.home.existing(name, exclusive=False))
        return DiffGetter(path, held.close)


def _chain_id(parents: list[LayerFolder], diff_id: Digest) -> str | None:
    if not parents:
        return str(diff_id)
    below = parents[0].facts.get("chain_id")
    return str(digest_of(f"{below} {diff_id}".encode())) if isinstance(below, str) else None
