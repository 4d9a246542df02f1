"""The registry of an image: its base hives seen through the delta hives of all layers, as a container sees them.

A hive is found and read when it is asked for first, and then kept open; :mod:`wclayer.regf.layered` says what the
layers make of a key. So whoever wants one value of a large image reads one hive, and of that some pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError, WclayerError
from wclayer.image.chain import is_layer_folder
from wclayer.image.layer_places import parse_place
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.registry.hive_files import HiveFile, HiveSource, hive_stack
from wclayer.image.registry.hives_of_view import ViewHives
from wclayer.image.registry.hives_on_disk import DiskHives, is_hive_file
from wclayer.image.registry.key_paths import HIVES, KeyPath, parse_key_path, shown_path
from wclayer.image.target import open_view
from wclayer.ntfs.names import fold
from wclayer.regf import Hive, HiveKey, LayeredKey, resolve
from wclayer.regf.logs import replay

if TYPE_CHECKING:
    from wclayer.image.registry.history import RegistryEvent
    from wclayer.oci import Limits
    from wclayer.oci.network import Network

__all__ = ["ImageRegistry"]


class ImageRegistry:
    """The effective hives of a place, which is closed with this. See :meth:`open`.

    Every method raises FormatError for a hive that is damaged, naming image, layer and path, and what reading the
    layers raises.
    """

    def __init__(self, source: HiveSource) -> None:
        self.source = source
        self.reference = source.reference
        #: Names of the layers, base first.
        self.layers = source.labels
        #: What is odd about the hives that were looked at: dirty ones, others that do not count.
        self.notes: list[str] = list(source.notes)
        self._files: dict[str, tuple[HiveFile, ...]] = {}
        self._stacks: dict[str, list[Hive]] = {}

    @classmethod
    def open(
        cls,
        place: str,
        *,
        platform: str | None = None,
        layer: int | None = None,
        limits: Limits | None = None,
        network: Network | None = None,
        progress: Progress = NO_PROGRESS,
    ) -> Self:
        """The registry of ``place``.

        That is an image, an unpacked image or a layer folder, as :func:`wclayer.image.target.open_view` takes them; a
        transport folder, a base folder, or the folder of a layer as Windows keeps it, which are seen alone; or a hive
        file. ``layer`` is one layer alone, 0 being the base and -1 the top. Raises what opening the place raises.
        """
        source = _source(place, platform, layer, limits, network, progress)
        try:
            return cls(source)
        except BaseException:
            source.close()
            raise

    def close(self) -> None:
        """Close everything; keys that are still held cannot be read any more. Harmless when called twice."""
        self._stacks.clear()
        try:
            self.source.close()
        except BufferError:  # somebody still holds a piece of a mapped hive, which goes with it
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, WclayerError):
            error.locate(image=self.reference)
        self.close()

    # ------------------------------------------------------------------ hives

    @property
    def hives(self) -> tuple[str, ...]:
        """Which hives are there. None of them is read for that."""
        names = (self.source.alone,) if self.source.alone is not None else HIVES
        return tuple(name for name in names if self.files(name))

    def files(self, hive: str) -> tuple[HiveFile, ...]:
        """The files that make up ``hive``, base first; none when the image has no such hive."""
        known = self._files.get(hive)
        if known is None:
            stack, notes = hive_stack(self.source.candidates(hive))
            known = self._files[hive] = tuple(stack)
            self.notes += notes
        return known

    def load(self, hives: Sequence[str]) -> None:
        """Read these hives, if they are there: of an image that is not unpacked, in one pass over each layer."""
        wanted = [file for hive in dict.fromkeys(hives) if hive not in self._stacks for file in self.files(hive)]
        stacks: dict[str, list[Hive]] = {file.hive: [] for file in wanted}
        for file, buffer in zip(wanted, self.source.load(wanted), strict=True):
            stacks[file.hive].append(self._opened(file, buffer))
        self._stacks |= stacks

    def stack(self, hive: str) -> list[Hive]:
        """The hives of :meth:`files`, each as it lies in its layer."""
        if hive not in self._stacks:
            self.load([hive])
        return self._stacks.get(hive, [])

    def is_delta(self, hive: str) -> bool:
        """Whether there is a delta and nothing below it, as in a single layer: then deletions are all that is known."""
        stack = self.stack(hive)
        return len(stack) == 1 and stack[0].is_delta

    def root(self, hive: str, *, layers: int | None = None) -> LayeredKey | None:
        """The root key of ``hive``, None when there is no such hive.

        ``layers`` is how many of :meth:`files` take part, the lowest first; all of them when it is None.
        """
        stack = self.stack(hive)[:layers]
        if not stack:
            return None
        try:
            return resolve(stack)
        except UsageError as error:
            raise FormatError(f"the hive {hive}: {error.message}", kind="hive", image=self.reference) from None

    # ------------------------------------------------------------------ keys

    def path(self, text: str | KeyPath) -> KeyPath:
        r"""The key that ``text`` means, with ``CurrentControlSet`` resolved as ``Select\Current`` says.

        Raises NotFoundError for a root that no image has, and for a current control set that is no number.
        """
        key = parse_key_path(text, alone=self.source.alone) if isinstance(text, str) else text
        first, _, rest = key.path.partition("\\")
        if key.hive != "SYSTEM" or fold(first) != "CURRENTCONTROLSET":
            return key
        root = self.root("SYSTEM")
        select = root.key("Select") if root is not None else None
        current = select.value("Current") if select is not None else None
        number = current.value.decoded() if current is not None else 1
        if not isinstance(number, int):
            raise NotFoundError("SYSTEM\\Select does not say which control set is the current one")
        name = f"ControlSet{number:03d}"
        return KeyPath("SYSTEM", f"{name}\\{rest}" if rest else name)

    def key(self, path: str | KeyPath) -> LayeredKey | None:
        """The key at ``path`` (``HKLM/SOFTWARE/Microsoft``), None when there is none."""
        place = self.path(path)
        root = self.root(place.hive) if place.hive else None
        return root.key(place.path) if root is not None else None

    def require(self, path: str | KeyPath) -> tuple[KeyPath, LayeredKey]:
        """The same, with its path. Raises NotFoundError, which says how far the path exists."""
        place = self.path(path)
        if not place.hive:
            raise UsageError(f"{place.path or 'the whole registry'} is no key", hint="name a hive: HKLM/SOFTWARE")
        here = self.root(place.hive)
        if here is None:
            raise NotFoundError(f"there is no hive {place.hive}")
        at = KeyPath(place.hive, "")
        for name in place.path.split("\\") if place.path else ():
            below = here.subkey(name)
            if below is None:
                raise NotFoundError(f"there is no key {shown_path(at.below(name))}")
            here, at = below, at.below(below.name)
        return at, here

    def tree(self, path: str | KeyPath, *, layers: int | None = None) -> HiveKey | None:
        """The key with all below it as a flat tree, None when there is none; ``layers`` as for :meth:`root`."""
        place = self.path(path)
        root = self.root(place.hive, layers=layers) if place.hive else None
        found = root.key(place.path) if root is not None else None
        return found.tree() if found is not None else None

    def history(self, path: str | KeyPath, *, recursive: bool = True) -> list[RegistryEvent]:
        """Which layer made, set, changed or deleted the key at ``path``, its values, and what is below it.

        See :func:`wclayer.image.registry.history.history`.
        """
        from wclayer.image.registry.history import history  # which needs this class

        return history(self, path, recursive=recursive)

    def _opened(self, file: HiveFile, buffer: object) -> Hive:
        try:
            hive = Hive(buffer, file.what)  # type: ignore[arg-type]
            if hive.is_dirty:
                hive = self._replayed(hive, file, buffer)
        except WclayerError as error:
            raise error.locate(image=self.reference, layer=file.label, path=file.path) from None
        self.notes += hive.warnings
        return hive

    def _replayed(self, hive: Hive, file: HiveFile, buffer: object) -> Hive:
        """A dirty hive with what its logs say; as it lies, with a note, where they say nothing."""
        logs = self.source.logs(file)
        if not logs:
            return hive
        warnings: list[str] = []
        try:
            whole = replay(bytes(buffer), logs, warnings=warnings)  # type: ignore[call-overload]
        except UnsupportedError as error:
            hive.warnings.append(f"{file.what} is read without its logs: {error.message}")
            return hive
        finally:
            self.notes += [f"{file.what}: {warning}" for warning in warnings]
        self.notes.append(f"{file.what} was dirty, and was made whole with its logs")
        return Hive(whole, file.what)


def _source(
    place: str,
    platform: str | None,
    layer: int | None,
    limits: Limits | None,
    network: Network | None,
    progress: Progress,
) -> HiveSource:
    path = Path(place)
    if is_hive_file(path):
        if layer is not None:
            raise UsageError(f"{place} is a hive, not an image", hint="leave --layer out")
        return DiskHives(path, place)
    named = parse_place(place)
    bare = named.kind in ("transport", "base", "plain") or (
        (named.kind == "layer" and not is_layer_folder(named.path))
        or (named.kind == "image" and any((path / name).is_dir() for name in ("Hives", "hives")))
    )
    if bare:
        if not named.path.is_dir():
            raise NotFoundError(f"there is no folder {named.path}")
        if layer not in (None, 0, -1):
            raise UsageError(f"{place} is one layer", hint="leave --layer out")
        return DiskHives(named.path, place)
    target = str(named.path) if named.kind == "layer" else place
    return ViewHives(
        open_view(target, platform=platform, layer=layer, limits=limits, network=network, progress=progress)
    )
