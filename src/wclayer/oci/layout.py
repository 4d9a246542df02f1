"""An OCI image layout, in a folder or in a tar (OCI image specification, image-layout.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, Index, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.image import Image, StoredBlob, image_from
from wclayer.oci.platforms import PlatformSpec
from wclayer.oci.references import Reference
from wclayer.oci.strictjson import parse_object
from wclayer.oci.trees import FileTree, read_file

__all__ = ["IMAGE_NAME", "LAYOUT_FILE", "LAYOUT_VERSION", "REF_NAME", "Layout", "entry_names"]

LAYOUT_FILE = "oci-layout"
LAYOUT_VERSION = "1.0.0"
REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with the tag (or the full name) of an entry of ``index.json``."""
IMAGE_NAME = "io.containerd.image.name"
"""The annotation with the full name, as containerd and Docker write it."""


class Layout:
    """The documents and blobs of a layout. ``index`` is its ``index.json``.

    ``elsewhere`` says under which path an archive of ``docker save`` keeps a layer, by DiffID. Takes ``tree`` over.
    Raises NotFoundError when there is no layout, UnsupportedError for another version, and what parsing raises.
    """

    def __init__(self, tree: FileTree, *, elsewhere: Mapping[Digest, str] | None = None) -> None:
        self.tree = tree
        self._elsewhere = elsewhere or {}
        marker = parse_object(self._document(LAYOUT_FILE, 4096), what=LAYOUT_FILE, limit=4096)
        version = marker.text("imageLayoutVersion")
        if version != LAYOUT_VERSION:
            raise UnsupportedError(f"{tree}: an OCI layout of version {version!r}, not {LAYOUT_VERSION}")
        index = parse_document(self._document("index.json", MANIFEST_LIMIT), what="index.json")
        if not isinstance(index, Index):
            raise FormatError(f"{tree}: index.json holds a manifest", kind="media-type")
        self.index = index

    def _document(self, path: str, limit: int) -> bytes:
        if self.tree.is_ambiguous(path):
            raise FormatError(f"{self.tree}: {path} is there more than once", kind="duplicate")
        return read_file(self.tree, path, limit, what=path)

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """The bytes of a small blob, not verified yet."""
        return read_file(self.tree, descriptor.digest.blob_path, limit, what=what)

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:
        """The bytes of a layer: the blob itself, else the uncompressed one that ``docker save`` keeps by its DiffID."""
        paths = [(layer.digest.blob_path, True)]
        if diff_id is not None:
            paths.append((diff_id.blob_path, diff_id == layer.digest))
            if diff_id in self._elsewhere:
                paths.append((self._elsewhere[diff_id], False))
        for path, original in paths:
            size = self.tree.size(path)
            if size is not None:
                return StoredBlob(lambda path=path: self.tree.open(path), size, original)  # type: ignore[misc]
        return None

    def close(self) -> None:
        """Close the archive, if it is one."""
        self.tree.close()

    def entries(self, name: str = "", digest: Digest | None = None) -> Sequence[Descriptor]:
        """The entries of the index that ``name`` and ``digest`` pick; all when neither is given.

        A digest may also be that of a manifest deeper down. NotFoundError lists the names there are.
        """
        entries = self._named(name) if name else self.index.manifests
        if digest is None:
            return entries
        found = [entry for entry in entries if entry.digest == digest]
        if not found and not name and (size := self.tree.size(digest.blob_path)) is not None:
            raw = read_file(self.tree, digest.blob_path, MANIFEST_LIMIT, what=str(digest))
            return (Descriptor(parse_document(raw, what=str(digest)).media_type, digest, size),)
        if not found:
            raise NotFoundError(f"no manifest {digest}{f' of the name {name!r}' if name else ''} in {self.tree}")
        return found

    def _named(self, name: str) -> Sequence[Descriptor]:
        for exact in (True, False):  # a whole name first, then the end of one
            found = [entry for entry in self.index.manifests if _has_name(entry, name, exact=exact)]
            if found:
                return found
        known = self.names()
        raise NotFoundError(
            f"no image {name!r} in {self.tree}",
            hint=f"it has {', '.join(known)}" if known else "no image in it has a name",
        )

    def names(self) -> list[str]:
        """Every name in the index, once, sorted."""
        return sorted({name for entry in self.index.manifests for name in entry_names(entry)})

    def roots(self, reference: Reference) -> Sequence[Descriptor]:
        """What ``reference`` names: one entry, or several of one name.

        Raises UsageError when several differently named images are there and no name was given, NotFoundError.
        """
        entries = self.entries(reference.name, reference.digest)
        if not reference.name and reference.digest is None:
            if not entries:
                raise NotFoundError(f"there is no image in {self.tree}")
            distinct = {entry_names(entry) for entry in entries}
            if len(distinct) > 1:
                raise UsageError(
                    f"there are {len(entries)} images in {self.tree}",
                    hint=f"name one of them after a colon: {', '.join(self.names())}",
                )
        return entries

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image that ``reference`` and ``wanted`` pick; what :meth:`roots` and reading documents raise."""
        return image_from(str(reference), self, self.roots(reference), wanted, hyperv=hyperv)


def _has_name(entry: Descriptor, name: str, *, exact: bool) -> bool:
    ends = (f":{name}", f"/{name}")
    return any(known == name or (not exact and known.endswith(ends)) for known in entry_names(entry))


def entry_names(entry: Descriptor) -> tuple[str, ...]:
    """The names an entry of the index goes by."""
    names = (entry.annotations.get(REF_NAME), entry.annotations.get(IMAGE_NAME))
    return tuple(dict.fromkeys(name for name in names if name))
