"""A Windows image unpacked for whoever runs containers: an ordered chain of layers, each under the GUID it will have.

What an engine wants of an unpacker: layers in order, nearest first; streamed, verified, complete or absent; found again
on the next run; and the utility VM that boots. :mod:`wclayer.image.unpack` and the merged view do that; here it is put
together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from wclayer.errors import NotFoundError, UnsupportedError
from wclayer.formats.folder import LayerFolder
from wclayer.hcs.identity import layer_id, shared_ids
from wclayer.hcs.layer_files import locate_uvm_folder
from wclayer.image.chain import is_layer_folder
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.target import FolderLayer
from wclayer.image.unpack import UnpackOptions, unpack_image
from wclayer.image.view import View
from wclayer.model import LayerChain
from wclayer.oci import Digest

__all__ = [
    "BOOT_FOLDER",
    "UvmBootFiles",
    "WindowsImage",
    "WindowsLayer",
    "locate_uvm_boot_files",
    "unpack_windows_image",
]

BOOT_FOLDER = "UtilityVM/Files/EFI/Microsoft/Boot"
"""Where the boot manager and the boot configuration of a utility VM are, in a layer."""

_BOOT_MANAGER, _BOOT_CONFIGURATION = "bootmgfw.efi", "BCD"
_TEMPLATE = "UtilityVM/SystemTemplate.vhdx"


@dataclass(frozen=True, slots=True)
class WindowsLayer:
    """A layer: its folder, the GUID that Windows will know it by, the digest of its uncompressed tar."""

    path: Path
    guid: UUID
    diff_id: Digest
    size: int


@dataclass(frozen=True, slots=True)
class WindowsImage:
    """An image whose layers are there. ``chain`` is nearest first, as hcsshim and ``layerchain.json`` have it.

    ``notices`` counts what was odd; ``notes`` are sentences for people, two layers of one GUID among them.
    """

    folder: Path
    chain: LayerChain[WindowsLayer]
    os_version: str
    notices: dict[str, int]
    notes: tuple[str, ...]

    @property
    def parents(self) -> tuple[Path, ...]:
        """The folders, nearest first: what a layer on top of this image is given as its parents."""
        return tuple(layer.path for layer in self.chain)


@dataclass(frozen=True, slots=True)
class UvmBootFiles:
    """The files a utility VM boots from: the layer they are of, and where each lies on this machine.

    ``template`` is the disk that Windows makes of the utility VM, None where it was not made yet.
    """

    layer: Path
    boot_manager: Path
    boot_configuration: Path
    template: Path | None


def unpack_windows_image(
    reference: str,
    folder: Path,
    options: UnpackOptions = UnpackOptions(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
) -> WindowsImage:
    """Unpack the Windows image ``reference`` to ``folder``; layers that are there already are taken as they are.

    Every layer streams from the blob to its files; size, digest and DiffID are verified before it exists. After a
    failure no partial layer and no staging folder is left. Raises UnsupportedError for an image of another system.
    """
    with options.open_image(reference) as image:
        system = image.platform.os if image.platform else ""
        if image.manifest is not None and system != "windows":
            raise UnsupportedError(
                f"an image for {system or 'no system'}, not for windows",
                image=reference,
                hint="choose another one with --platform, such as windows/amd64",
            )
        done = unpack_image(image, folder, options, progress)
        os_version = image.platform.os_version if image.platform else ""
    layers = [WindowsLayer(one.path, layer_id(one.path), one.diff_id, one.size) for one in done.layers]
    shared = [
        f"{' and '.join(paths)} have the GUID {guid}, for their names are the same"
        for guid, paths in shared_ids(layer.path for layer in layers).items()
    ]
    return WindowsImage(folder, LayerChain.from_base_first(layers), os_version, done.notices, (*done.notes, *shared))


def locate_uvm_boot_files(layers: Iterable[Path], *, need_template: bool = True) -> UvmBootFiles:
    """The boot files of the utility VM of ``layers``, nearest first: those of the uppermost layer that has one.

    A layer that Windows imported holds its utility VM whole, so only that layer is looked at; of layer folders, which
    hold what each layer changes, the layers below complete it. With ``need_template`` the disk has to be there.
    Raises NotFoundError that says which file is missing in which layer, StoreError.
    """
    chain = tuple(layers)
    owner = locate_uvm_folder(chain)
    if is_layer_folder(owner):
        manager, configuration = _in_folders(chain[chain.index(owner) :])
    else:
        manager, configuration = (owner / BOOT_FOLDER / name for name in (_BOOT_MANAGER, _BOOT_CONFIGURATION))
        for path in (manager, configuration):
            if not path.is_file() or path.is_symlink():
                raise _missing(path.name, owner)
    template = owner / _TEMPLATE
    if not template.is_file():
        if need_template:
            raise NotFoundError(
                f"the utility VM of {owner} was not processed: it has no {template.name}",
                hint="let Windows process it: ProcessUtilityImage of vmcompute.dll",
            )
        return UvmBootFiles(owner, manager, configuration, None)
    return UvmBootFiles(owner, manager, configuration, template)


def _in_folders(chain: Sequence[Path]) -> tuple[Path, Path]:
    folders: list[LayerFolder] = []
    try:
        for path in filter(is_layer_folder, chain):
            folders.append(LayerFolder(path))  # noqa: PERF401 - each is closed, also when the next one cannot be opened
        view = View(LayerChain(FolderLayer(folder) for folder in folders))
        return _found(view, folders, _BOOT_MANAGER), _found(view, folders, _BOOT_CONFIGURATION)
    finally:
        for folder in folders:
            folder.close()


def _found(view: View, folders: Sequence[LayerFolder], name: str) -> Path:
    try:
        found = view.find(f"{BOOT_FOLDER}/{name}")
    except NotFoundError as error:
        raise _missing(name, folders[0].path) from error
    if found.is_folder:
        raise _missing(name, folders[0].path)
    layer, node = view.content(found)
    folder = folders[layer]
    return folder.path / folder.host_path(node).decode("utf-8", "surrogateescape")


def _missing(name: str, layer: Path) -> NotFoundError:
    return NotFoundError(
        f"the layer {layer} has a UtilityVM, but no {BOOT_FOLDER}/{name}", hint="the base image lacks a utility VM"
    )
