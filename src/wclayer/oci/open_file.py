"""Opening an image that lies in one file: an archive of either kind, or a bare layer tar."""

from __future__ import annotations

from pathlib import Path

from wclayer.errors import FormatError, NotFoundError
from wclayer.oci.archive import ArchiveTree, first_name, has_tar_header
from wclayer.oci.docker_archive import MANIFEST_FILE, DockerArchive
from wclayer.oci.image import Image
from wclayer.oci.layout import LAYOUT_FILE, Layout
from wclayer.oci.limits import Limits
from wclayer.oci.pipeline import open_layer
from wclayer.oci.rawlayer import file_image, open_stdin
from wclayer.oci.references import Reference
from wclayer.oci.sources import open_file

__all__ = ["open_archive", "open_unknown"]

_ROOTS = ("files", "hives", "utilityvm")
"""The folders at the top of a Windows layer tar, in lower case."""


def open_archive(place: Reference, limits: Limits) -> Layout | DockerArchive:
    """The archive ``place``, of the kind that its transport says. Raises FormatError and what reading a file raises."""
    tree = _archive(place, limits)
    return _layout_in(tree) if place.transport == "oci-archive" else _saved_in(tree)


def open_unknown(path: Path, name: str, limits: Limits) -> tuple[Layout | DockerArchive, Reference] | Image:
    """What the file ``path`` holds, with what is meant there by ``name``; a bare layer tar is an image already.

    Raises NotFoundError for a ``name`` in a file that is no archive, FormatError, and what reading a file raises.
    """
    if not name and _starts_like_a_layer(path):
        return file_image(path)
    tree = ArchiveTree.from_file(path, limits=limits)
    if LAYOUT_FILE in tree:
        return _layout_in(tree), Reference("oci-archive", str(path), name)
    if MANIFEST_FILE in tree:
        return _saved_in(tree), Reference("docker-archive", str(path), name)
    tree.close()
    if name:
        raise NotFoundError(f"the archive {path} has neither {LAYOUT_FILE} nor {MANIFEST_FILE}, so no image {name!r}")
    return file_image(path, notes=("no image archive, and not the names of a Windows layer: taken for a layer",))


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
