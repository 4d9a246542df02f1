r"""Layers by what they are: one that several images have is kept once, under its chain id.

::

    ROOT/windowsfilter/                                    the home of the driver; layers by cache id
    ROOT/image/windowsfilter/layerdb/sha256/HEX/diff       the DiffID of the layer with the chain id HEX
                                               /parent     the chain id of its parent, missing for a base layer
                                               /cache-id   its name in the home of the driver
                                               /size       of its files, in bytes
    ROOT/image/windowsfilter/images/HEX.json               an image: its name, and its layers
    ROOT/image/windowsfilter/registering/LEASE             layers that a program puts in, or has just put in

The layer database is moby's (``layer/filestore.go``). A layer is collected when no image has it, none that is kept
stands on it, nobody has it mounted, and no living program put it in or asked for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder import LayerFolder, remove_layer_folder, write_original
from wclayer.model import Buffer
from wclayer.oci import Digest, Limits
from wclayer.oci.digests import digest_of
from wclayer.oci.sources import BinarySource
from wclayer.store.driver.driver import WindowsFilterDriver
from wclayer.store.driver.mounting import LayerMounts
from wclayer.store.driver.records import IMAGE_SCHEMA, StoredImage, StoredLayer, is_hex, read_image, read_layer
from wclayer.store.locks import PATIENCE, LayerInUseError, Lease, is_alive
from wclayer.store.readwrite.body import write_whole

__all__ = ["HOME", "LayerStore", "StoredImage", "StoredLayer"]

HOME = "windowsfilter"
_DATABASE = Path("image") / "windowsfilter"
_LIMIT = 1 << 20
_LOCK = "+layerdb"


class LayerStore:
    """The store at ``root``, with its driver. Safe for threads and processes; close it after use. Raises StoreError."""

    def __init__(
        self, root: Path | str, *, mounts: LayerMounts | None = None, patience: float = PATIENCE, sweep: bool = True
    ) -> None:
        self.root = Path(os.path.abspath(root))
        self.driver = WindowsFilterDriver(self.root / HOME, mounts=mounts, patience=patience, sweep=sweep)
        self._database = self.root / _DATABASE
        self._layers = self._database / "layerdb" / "sha256"
        for folder in (
            self._layers,
            self._database / "layerdb" / "tmp",
            self._folder("images"),
            self._folder("registering"),
        ):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot make {folder}: {error.strerror}") from error
        self._lease: Lease | None = None

    def close(self) -> None:
        """Let go of what this program put in or asked for; images keep their layers."""
        if self._lease is not None:
            with suppress(OSError):
                (self._folder("registering") / self._lease.name).unlink(missing_ok=True)
            self._lease.close()
            self._lease = None
        self.driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    # ------------------------------------------------------------------ layers

    def layers(self) -> list[StoredLayer]:
        """All layers, by chain id."""
        found = []
        for path in sorted(self._layers.iterdir()):
            with suppress(NotFoundError):  # it was collected meanwhile
                if is_hex(path.name):
                    found.append(read_layer(path))
        return found

    def layer(self, chain_id: str) -> StoredLayer:
        """The layer ``chain_id``; NotFoundError."""
        return self._read(Digest.parse(chain_id).hex)

    def register(
        self,
        tar: Callable[[], BinarySource],
        parent: str | None = None,
        *,
        diff_id: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> StoredLayer:
        """Put in the layer that ``tar`` opens, on the layer with the chain id ``parent``.

        ``diff_id`` is what the uncompressed tar must be; where a layer of that DiffID is there already, on the same
        parent, the tar is not even opened. This program has a lease on the layer until it closes the store.
        """
        below = self._leased(parent) if parent is not None else None
        if diff_id is not None:
            found = self._leased_if_there(_chain_id(parent, diff_id))
            if found is not None:
                return found
        cache_id = secrets.token_hex(32)
        self._note(cache_id)
        try:
            self.driver.create(cache_id, below.cache_id if below else "")
            applied = self.driver.apply_diff(cache_id, None, tar(), diff_id=diff_id, limits=limits)
            layer = StoredLayer(_chain_id(parent, applied.diff_id), applied.diff_id, parent, cache_id, applied.size)
            existing = self._publish(layer)
        except BaseException:
            self.driver.remove(cache_id)
            raise
        if existing is not None:
            self.driver.remove(cache_id)
            return existing
        return layer

    def write_tar(self, chain_id: str, write: Callable[[Buffer], object]) -> None:
        """Write the tar the layer came from, byte for byte. DigestMismatchError when it is not what it was."""
        layer = self.layer(chain_id)
        with self.driver.home.existing(layer.cache_id, exclusive=False) as path, LayerFolder(path) as folder:
            write_original(folder, write)

    def layer_folders(self, chain_id: str) -> tuple[Path, ...]:
        """The folder of the layer and those below it, nearest first, as a container is started with them."""
        layer = self.layer(chain_id)
        home = self.driver.home
        return tuple(home.path(name) for name in (layer.cache_id, *home.chain(layer.cache_id)))

    # ------------------------------------------------------------------ images

    def images(self) -> list[StoredImage]:
        """All images, by name."""
        found = [read_image(path) for path in self._folder("images").glob("*.json")]
        return sorted((image for image in found if image is not None), key=lambda image: image.name)

    def hold(self, name: str, layers: Sequence[str]) -> StoredImage:
        """Keep ``layers``, chain ids base first, as those of the image ``name``, in place of what it had.

        NotFoundError when one of them is not there; then the image keeps what it had.
        """
        image = StoredImage(name, tuple(layers))
        document = {"schema": IMAGE_SCHEMA, "name": name, "layers": list(layers)}
        with self._locked():
            for chain_id in layers:
                if not self.driver.exists(self.layer(chain_id).cache_id):
                    raise NotFoundError(f"the layer {chain_id} is recorded, but it is not there", hint="add it again")
            write_whole(self._image_path(name), json.dumps(document, indent=2).encode())
        return image

    def release(self, name: str) -> None:
        """Forget the image ``name``; its layers stay until they are collected. NotFoundError."""
        try:
            self._image_path(name).unlink()
        except FileNotFoundError:
            raise NotFoundError(f"there is no image {name} in the store") from None
        except OSError as error:
            raise StoreError(f"cannot forget the image {name}: {error.strerror}") from error

    # ------------------------------------------------------------------ collecting

    def collect(self, *, dry_run: bool = False) -> list[StoredLayer]:
        """Remove what no image needs and no program uses; what was removed, or would be, the nearest layers first."""
        with self._locked():
            used = self._in_use()
            if not dry_run:
                self._collect_unfinished(used)  # first, for they may stand on others
            known = {layer.chain_id: layer for layer in self.layers()}
            needed: set[str] = set()
            wanted = [chain_id for image in self.images() for chain_id in image.layers]
            wanted += [layer.chain_id for layer in known.values() if self._is_used(layer, used)]
            while wanted:
                chain_id = wanted.pop()
                if chain_id in known and chain_id not in needed:
                    needed.add(chain_id)
                    above = known[chain_id].parent
                    wanted += [above] if above is not None else []
            garbage = [layer for layer in known.values() if layer.chain_id not in needed]
            garbage.sort(
                key=lambda layer: (
                    -len(self.driver.home.chain(layer.cache_id)) if self.driver.exists(layer.cache_id) else 0
                )
            )
            return garbage if dry_run else [layer for layer in garbage if self._forget(layer)]

    def _forget(self, layer: StoredLayer) -> bool:
        """Remove a layer, unless somebody came to use it just now.

        It goes before its record: a record without its layer is found out, a layer without its record is not.
        """
        try:
            self.driver.remove(layer.cache_id)
        except LayerInUseError:
            return False
        self._hide(self._layers / Digest.parse(layer.chain_id).hex)
        return True

    def _hide(self, place: Path) -> None:
        """Remove a record."""
        hidden = place.with_name(f"{place.name}-{secrets.token_hex(8)}-removing")
        try:
            place.rename(hidden)
        except OSError as error:
            raise StoreError(f"cannot remove {place}: {error.strerror}") from error
        remove_layer_folder(hidden)

    def _collect_unfinished(self, used: set[str]) -> None:
        """What programs were putting in when they died."""
        recorded = {layer.cache_id for layer in self.layers()}
        for path in list(self._folder("registering").iterdir()):
            if is_alive(self.driver.home.locks, path.name):
                continue
            try:
                for cache_id in _lines(path):
                    if cache_id not in recorded and cache_id not in used:
                        self.driver.remove(cache_id)
            except LayerInUseError:
                continue  # somebody uses it all the same; another time
            path.unlink(missing_ok=True)
        for leftover in [*self._layers.glob("*-removing"), *(self._database / "layerdb" / "tmp").iterdir()]:
            remove_layer_folder(leftover)

    def _in_use(self) -> set[str]:
        """The cache ids that living programs have noted."""
        return {
            cache_id
            for path in self._folder("registering").iterdir()
            if is_alive(self.driver.home.locks, path.name)
            for cache_id in _lines(path)
        }

    def _is_used(self, layer: StoredLayer, used: set[str]) -> bool:
        if layer.cache_id in used or self.driver.counts.total(layer.cache_id):
            return True
        home = self.driver.home
        registered = {one.cache_id for one in self.layers()}
        return any(child not in registered for child in home.children(layer.cache_id))

    # ------------------------------------------------------------------ the database

    def _publish(self, layer: StoredLayer) -> StoredLayer | None:
        """Record ``layer``, or find out that somebody else was faster."""
        place = self._layers / Digest.parse(layer.chain_id).hex
        staged = self._database / "layerdb" / "tmp" / f"write-{secrets.token_hex(8)}"
        with self._locked():
            if place.is_dir():
                found = self._read(place.name, shared=True)
                if self.driver.exists(found.cache_id):
                    self._note(found.cache_id)
                    return found
                self._hide(place)
            try:
                staged.mkdir()
                write_whole(staged / "diff", layer.diff_id.encode())
                write_whole(staged / "size", str(layer.size).encode())
                write_whole(staged / "cache-id", layer.cache_id.encode())
                if layer.parent is not None:
                    write_whole(staged / "parent", layer.parent.encode())
                staged.rename(place)
            except OSError as error:
                raise StoreError(f"cannot record the layer {layer.chain_id}: {error.strerror}") from error
        return None

    def _leased(self, chain_id: str) -> StoredLayer:
        found = self._leased_if_there(chain_id)
        if found is None:
            raise NotFoundError(f"there is no layer {chain_id} in the store")
        return found

    def _leased_if_there(self, chain_id: str) -> StoredLayer | None:
        with self._locked():
            try:
                found = self._read(Digest.parse(chain_id).hex, shared=True)
            except NotFoundError:
                return None
            if not self.driver.exists(found.cache_id):
                return None
            self._note(found.cache_id)
            return found

    def _note(self, cache_id: str) -> None:
        """Write down that this program uses a layer, before it counts on it."""
        if self._lease is None:
            self._lease = Lease(self.driver.home.locks)
        try:
            with (self._folder("registering") / self._lease.name).open("ab", buffering=0) as file:
                file.write(f"{cache_id}\n".encode())
        except OSError as error:
            raise StoreError(f"cannot write to {self._folder('registering')}: {error.strerror}") from error

    def _read(self, name: str, *, shared: bool = False) -> StoredLayer:
        return read_layer(self._layers / name, shared=shared)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self.driver.home.locks.layer(_LOCK, exclusive=True):
            yield

    def _image_path(self, name: str) -> Path:
        return self._folder("images") / f"{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}.json"

    def _folder(self, name: str) -> Path:
        return self._database / name


def _chain_id(parent: str | None, diff_id: str) -> str:
    """The chain id of a layer (OCI image specification, config.md, "Layer ChainID")."""
    return diff_id if parent is None else str(digest_of(f"{parent} {diff_id}".encode()))


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            lines = file.read(_LIMIT).decode("ascii", "replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return [line for line in lines if is_hex(line)]
