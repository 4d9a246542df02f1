"""Opening an image by its reference: one function for every place an image can be in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wclayer.errors import FormatError, NotFoundError, UnsupportedError, WclayerError
from wclayer.oci.archive import ArchiveTree, first_name, has_tar_header
from wclayer.oci.dir_transport import VERSION_FILE, DirTransport
from wclayer.oci.docker_archive import MANIFEST_FILE, DockerArchive
from wclayer.oci.image import Image
from wclayer.oci.layout import LAYOUT_FILE, Layout
from wclayer.oci.limits import Limits
from wclayer.oci.pipeline import open_layer
from wclayer.oci.platforms import PlatformSpec, parse_platform
from wclayer.oci.rawlayer import file_image, open_stdin, stdin_image
from wclayer.oci.references import Reference, looks_like_registry, parse_reference, split_name
from wclayer.oci.sources import open_file
from wclayer.oci.trees import FolderTree

__all__ = ["open_image"]

_ROOTS = ("files", "hives", "utilityvm")
"""The folders at the top of a Windows layer tar, in lower case."""

T = TypeVar("T", Layout, DockerArchive, DirTransport)


def open_image(
    reference: str | Reference,
    platform: str | PlatformSpec | None = None,
    *,
    hyperv: bool = False,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Image:
    """Open the image that ``reference`` names (see :mod:`wclayer.oci.references`).

    ``platform`` picks one image of several (see :func:`wclayer.oci.platforms.parse_platform`); without it a lone
    image is taken as it is, and out of several Windows on amd64 with the highest version. ``hyperv`` applies the rule
    of Hyper-V isolation. ``limits`` bound the inflating of a compressed archive.

    Raises UsageError for a reference or a platform that makes no sense, NotFoundError, UnsupportedError for a reference
    to a registry, and IntegrityError in its kinds for documents that are damaged. The image must be closed.
    """
    place = parse_reference(reference) if isinstance(reference, str) else reference
    wanted = parse_platform(platform) if isinstance(platform, str) else platform
    try:
        if place.transport == "path":
            return _open_path(place, wanted, hyperv=hyperv, limits=limits)
        return _open(place, wanted, hyperv=hyperv, limits=limits)
    except WclayerError as error:
        error.locate(image=str(place))
        raise


def _open(place: Reference, wanted: PlatformSpec | None, *, hyperv: bool, limits: Limits) -> Image:
    path = Path(place.location)
    match place.transport:
        case "oci":
            return _image(lambda: Layout(FolderTree(path)), place, wanted, hyperv)
        case "dir":
            return _image(lambda: DirTransport(FolderTree(path)), place, wanted, hyperv)
        case "oci-archive":
            return _image(lambda: _layout_in(_archive(place, limits)), place, wanted, hyperv)
        case "docker-archive":
            return _image(lambda: _saved_in(_archive(place, limits)), place, wanted, hyperv)
        case "stdin":
            return stdin_image()
        case _:
            raise _remote(place)


def _image(make: Callable[[], T], place: Reference, wanted: PlatformSpec | None, hyperv: bool) -> Image:
    store = make()
    try:
        return store.image(place, wanted, hyperv=hyperv)
    except BaseException:
        store.close()
        raise


def _archive(place: Reference, limits: Limits) -> ArchiveTree:
    if place.location == "-":
        return ArchiveTree.spool(open_stdin(), "standard input", limits=limits)
    return ArchiveTree.from_file(Path(place.location), limits=limits)


def _saved_in(tree: ArchiveTree) -> DockerArchive:
    try:
        return DockerArchive(tree)
    except BaseException:
        tree.close()
        raise


def _layout_in(tree: ArchiveTree) -> Layout:
    """The layout in an archive; when ``docker save`` wrote it, layers are also found where its own list has them."""
    try:
        elsewhere = DockerArchive(tree).layer_paths() if MANIFEST_FILE in tree else None
        return Layout(tree, elsewhere=elsewhere)
    except BaseException:
        tree.close()
        raise


def _remote(place: Reference) -> UnsupportedError:
    name = place.location
    source = name if place.transport == "daemon" else f"docker://{name.removeprefix('docker://')}"
    return UnsupportedError(
        "images in registries and engines are not available in this version",
        hint=f"copy it first: skopeo copy --override-os windows {source} oci:DIR:TAG, then use oci:DIR:TAG",
    )


def _open_path(place: Reference, wanted: PlatformSpec | None, *, hyperv: bool, limits: Limits) -> Image:
    path, name = _existing(place.location)
    if path.is_dir():
        if (path / LAYOUT_FILE).exists():
            return _open(Reference("oci", str(path), name), wanted, hyperv=hyperv, limits=limits)
        if (path / VERSION_FILE).exists() and (path / MANIFEST_FILE).exists() and not name:
            return _open(Reference("dir", str(path)), wanted, hyperv=hyperv, limits=limits)
        raise UnsupportedError(f"the folder {path} is neither an OCI layout nor one of skopeo's dir transport")
    if not name and _starts_like_a_layer(path):
        return file_image(path)
    tree = ArchiveTree.from_file(path, limits=limits)
    if LAYOUT_FILE in tree:
        found = Reference("oci-archive", str(path), name)
        return _image(lambda: _layout_in(tree), found, wanted, hyperv)
    if MANIFEST_FILE in tree:
        found = Reference("docker-archive", str(path), name)
        return _image(lambda: _saved_in(tree), found, wanted, hyperv)
    tree.close()
    if name:
        raise NotFoundError(f"the archive {path} has neither {LAYOUT_FILE} nor {MANIFEST_FILE}, so no image {name!r}")
    return file_image(path, notes=("no image archive, and not the names of a Windows layer: taken for a layer",))


def _existing(text: str) -> tuple[Path, str]:
    """The path, and the name after it, that exist on disk."""
    for location, name in ((text, ""), split_name(text)):
        path = Path(location)
        try:
            if location and path.exists():
                return path, name
        except (OSError, ValueError):  # a name longer than the file system has, or not encodable
            continue
    if looks_like_registry(text):
        raise _remote(Reference("registry", text))
    raise NotFoundError(f"no such file or folder: {text}")


def _starts_like_a_layer(path: Path) -> bool:
    with open_layer(open_file(path), threads=False) as stream:
        head = bytes(next(stream, b""))
    if not head:
        raise FormatError(f"{path} is empty", kind="unexpected-eof")
    try:
        return first_name(head).partition("/")[0].lower() in _ROOTS
    except FormatError:
        if has_tar_header(head):  # an odd one, whose name the standard library cannot tell: the layer reader will say
            return True
        raise
