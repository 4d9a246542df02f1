"""skopeo's plain folder: ``manifest.json``, ``version``, and every blob under the digits of its digest.

Format: containers/image, directory transport. When it holds an index, the manifests lie beside it as
``<digits>.manifest.json``.
"""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.errors import NotFoundError, UnsupportedError
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, parse_document
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.image import Image, StoredBlob, image_from
from wclayer.oci.platforms import PlatformSpec
from wclayer.oci.references import Reference
from wclayer.oci.trees import FileTree, read_file

__all__ = ["MANIFEST_FILE", "VERSION_FILE", "DirTransport"]

VERSION_FILE, MANIFEST_FILE = "version", "manifest.json"
_VERSION = b"Directory Transport Version: 1."


class DirTransport:
    """The documents and blobs of such a folder. NotFoundError when it is none, UnsupportedError for another version."""

    def __init__(self, tree: FileTree) -> None:
        self.tree = tree
        if tree.size(VERSION_FILE) is None or tree.size(MANIFEST_FILE) is None:
            raise NotFoundError(f"{tree} is no folder of skopeo's dir transport: manifest.json or version is missing")
        version = read_file(tree, VERSION_FILE, 4096, what=VERSION_FILE)
        if not version.startswith(_VERSION):
            raise UnsupportedError(f"{tree}: another version of the dir transport: {version[:80]!r}")
        raw = read_file(tree, MANIFEST_FILE, MANIFEST_LIMIT, what=MANIFEST_FILE)
        document = parse_document(raw, what=MANIFEST_FILE)
        self._root = Descriptor(document.media_type, digest_of(raw), len(raw))

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """The bytes of a small blob, not verified yet."""
        path = descriptor.digest.hex
        if descriptor.type.role in ("manifest", "index"):
            path = MANIFEST_FILE if descriptor.digest == self._root.digest else f"{path}.manifest.json"
        return read_file(self.tree, path, limit, what=what)

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # not kept by it
        """The bytes of a layer."""
        path = layer.digest.hex
        size = self.tree.size(path)
        return None if size is None else StoredBlob(lambda: self.tree.open(path), size)

    def close(self) -> None:
        """Nothing stays open."""
        self.tree.close()

    def roots(self, reference: Reference) -> Sequence[Descriptor]:  # noqa: ARG002  # there is one
        """The manifest or the index of the folder."""
        return (self._root,)

    def names(self) -> Sequence[str]:
        """None: such a folder names nothing."""
        return ()

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image of the folder, or the one of its index that ``wanted`` picks."""
        return image_from(str(reference), self, self.roots(reference), wanted, hyperv=hyperv)
