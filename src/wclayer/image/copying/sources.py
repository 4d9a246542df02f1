"""Opening what is to be copied, whatever it is.

What holds blobs and manifests is copied as it is. A layer folder, an unpacked image or a lone layer tar has no image to
copy, so one is made of it first, in a temporary layout.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import StoreError, WclayerError
from wclayer.image.copying.ends import Source
from wclayer.image.copying.saved import saved_images
from wclayer.image.layer_places import parse_place
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.model import Notices
from wclayer.oci.docker_archive import DockerArchive
from wclayer.oci.image import Image
from wclayer.oci.limits import Limits
from wclayer.oci.open import open_place
from wclayer.oci.rawlayer import open_stdin
from wclayer.oci.references import Reference, names_registry, parse_reference, split_name
from wclayer.oci.sources import store_error
from wclayer.writing import write_whole

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["STORE_PREFIX", "MakeOptions", "is_remote", "open_source", "spooled_stdin"]

STORE_PREFIX = "store:"
"""Before the name of an image in the content store of this machine."""

_PIECE = 1 << 20


class MakeOptions:
    """How an image is made of what is none: the ``os.version`` it gets and how its layers are compressed."""

    def __init__(self, os_version: str = "", notices: Notices | None = None, progress: Progress = NO_PROGRESS) -> None:
        self.os_version = os_version
        self.notices = Notices() if notices is None else notices
        self.progress = progress


def open_source(
    text: str,
    *,
    network: Network | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    making: MakeOptions | None = None,
) -> Source:
    """Open what ``text`` names: an image reference, ``-``, a path, or a place of a layer, of which an image is made.

    Raises what :func:`wclayer.oci.open.open_image` raises of a place. The source must be closed.
    """
    with ExitStack() as held:
        try:
            source = _open(text, held, network, limits, making or MakeOptions())
        except WclayerError as error:
            raise error.locate(image=text) from None
        return replace(source, close=held.pop_all().close)


def _open(text: str, held: ExitStack, network: Network | None, limits: Limits, making: MakeOptions) -> Source:
    if text == "-":
        path = held.enter_context(spooled_stdin())
        source = _opened(Reference("path", str(path)), held, network, limits, making)
        return replace(source, reference="standard input")
    if text.startswith(STORE_PREFIX):
        return _stored(text.removeprefix(STORE_PREFIX), held, network)
    place = parse_place(text)
    if place.kind == "image":
        return _opened(parse_reference(text), held, network, limits, making)
    return _made(text, held, limits, making)


def _opened(place: Reference, held: ExitStack, network: Network | None, limits: Limits, making: MakeOptions) -> Source:
    if is_remote(place):
        from wclayer.image.copying.registry_source import open_registry

        return open_registry(place, held, network)
    opened = open_place(place, limits=limits)
    if isinstance(opened, Image):
        opened.close()
        return _made(place.location, held, limits, making)
    store, found = opened
    held.callback(store.close)
    fetch = None
    if network is not None and not network.offline:
        from wclayer.image.copying.registry_source import fetch_from_urls

        fetch = fetch_from_urls(network)
    if isinstance(store, DockerArchive):
        images, roots = saved_images(store, found)
        return Source(str(place), images, roots, held.close, fetch=fetch)
    return Source(str(place), store, tuple(store.roots(found)), held.close, fetch=fetch)


def _stored(name: str, held: ExitStack, network: Network | None) -> Source:
    """An image that is in the content store; no registry is asked."""
    from wclayer.image.copying.registry_source import open_registry
    from wclayer.oci.network import Network

    folder = None if network is None else network.store_folder
    offline = held.enter_context(Network(store_folder=folder, offline=True))
    source = open_registry(Reference("registry", name), held, offline)
    return replace(source, reference=f"{STORE_PREFIX}{name}")


def is_remote(place: Reference) -> bool:
    """Whether ``place`` is an image in a registry: written as one, or a name with a host that is no path here."""
    if place.transport != "path":
        return place.transport == "registry"
    return not _exists(place.location) and names_registry(place.location)


def _exists(text: str) -> bool:
    for location in (text, split_name(text)[0]):
        try:
            if location and Path(location).exists():
                return True
        except (OSError, ValueError):  # a name longer than the file system has, or not encodable
            continue
    return False


def _made(text: str, held: ExitStack, limits: Limits, making: MakeOptions) -> Source:
    """An image made of a layer, or of an unpacked image."""
    from wclayer.image.converting import ConvertOptions, convert

    folder = held.enter_context(_temporary_folder())
    made = Reference("oci", str(folder / "layout"), "made")
    result = convert(text, str(made), ConvertOptions(os_version=making.os_version, limits=limits), making.progress)
    for code, count in result.notices.items():
        making.notices.counts[code] = making.notices.counts.get(code, 0) + count
    making.notices.listed.extend(result.listed)
    opened = open_place(made, limits=limits)
    assert not isinstance(opened, Image)  # noqa: S101  # for the type checker: a layout was written
    store, found = opened
    held.callback(store.close)
    note = f"{text} is no image: one was made of it, with layers compressed by this version"
    return Source(text, store, tuple(store.roots(found)), held.close, notes=(note,))


@contextmanager
def spooled_stdin() -> Iterator[Path]:
    """Standard input in a file, for it can be read only once. UsageError when it is a terminal."""
    with _temporary_folder() as folder:
        path = folder / "stdin"
        source = open_stdin()
        buffer = memoryview(bytearray(_PIECE))
        try:
            with path.open("xb", buffering=0) as file:
                while count := source.readinto(buffer):
                    write_whole(file.write, buffer[:count])
        except OSError as error:
            raise store_error(error, "cannot keep standard input in the temporary folder") from error
        yield path


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="wclayer-"))
    except OSError as error:
        raise StoreError(
            f"cannot write to the temporary folder: {error.strerror or error}",
            hint="point TMPDIR at a place with room",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
