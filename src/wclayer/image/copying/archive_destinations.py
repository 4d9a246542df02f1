"""Archives as destinations: files that appear whole or not at all, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path

from wclayer.errors import UnsupportedError, UsageError
from wclayer.image.copying.ends import Outcome, Plan, PlannedBlob, PlannedDocument
from wclayer.image.copying.fetching import Advance
from wclayer.image.copying.foreign import is_foreign
from wclayer.image.copying.planning import config_of
from wclayer.image.exporting import open_output
from wclayer.oci.archive_writer import ArchiveMember, ArchiveWriter, archive_time
from wclayer.oci.descriptors import Descriptor, Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.docker_archive import MANIFEST_FILE
from wclayer.oci.docker_archive_writer import DockerArchiveWriter, docker_name, familiar_name
from wclayer.oci.documents import encode_json
from wclayer.oci.image import StoredBlob
from wclayer.oci.layout import IMAGE_NAME, LAYOUT_FILE, LAYOUT_VERSION, REF_NAME
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import OCI_INDEX
from wclayer.oci.pipeline import open_layer
from wclayer.oci.verified import copy_verified

__all__ = ["DockerArchiveDestination", "LayoutArchiveDestination"]


class _Abandoned(Exception):  # ends a file that shall not appear
    """Nothing came of it."""


class _Archive:
    """A tar on its way."""

    def __init__(self, output: str, reference: str) -> None:
        self.reference = reference
        self._output = output
        self._held = ExitStack()
        self._writer: ArchiveWriter | None = None
        self.is_stream = output == "-" or (Path(output).exists() and not Path(output).is_file())

    def is_present(self, plan: Plan) -> bool:  # noqa: ARG002  # whatever is in it, it is written anew
        """Never: an archive is written as a whole."""
        return False

    def has_blob(self, blob: PlannedBlob) -> bool:  # noqa: ARG002  # the same
        """Never."""
        return False

    def close(self) -> None:
        """Drop what was not finished."""
        with suppress(_Abandoned):
            self._held.__exit__(_Abandoned, _Abandoned(), None)

    def _open(self) -> ArchiveWriter:
        if self._output == "-" and sys.stdout.isatty():
            raise UsageError("standard output is a terminal", hint="redirect it to a file or a pipe")
        file: FileIO = self._held.enter_context(open_output(self._output))
        self._writer = ArchiveWriter(file, stream=self.is_stream, mtime=archive_time())
        return self._writer


class LayoutArchiveDestination(_Archive):
    """An OCI layout in a tar: lists and documents first, then the blobs in the order of the manifests.

    With ``for_docker`` there is Docker's ``manifest.json`` as well, so that ``docker load`` of any version takes it. It
    names the compressed blobs, and gives an index the name of its newest image for Windows.
    """

    takes_tars = False

    def __init__(self, output: str, reference: str, *, for_docker: bool = False) -> None:
        super().__init__(output, reference)
        self.jobs: int | None = 1 if self.is_stream else None
        self._for_docker = for_docker
        self._members: dict[Digest, ArchiveMember] = {}
        self._seen: set[Digest] = set()

    def begin(self, plans: Sequence[Plan]) -> None:
        """Write all that is small, and give every blob its place."""
        archive = self._open()
        archive.add(LAYOUT_FILE, encode_json({"imageLayoutVersion": LAYOUT_VERSION}))
        entries = [entry.to_json() for plan in plans for entry in _entries(plan, full=self._for_docker)]
        archive.add("index.json", encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}))
        if self._for_docker:
            archive.add(MANIFEST_FILE, encode_json([line for plan in plans for line in _docker_lines(plan)]))
        archive.add_folder("blobs")
        documents = {document.descriptor.digest: document for plan in plans for document in plan.documents}
        blobs = {blob.descriptor.digest: blob.descriptor for plan in plans for blob in plan.blobs}
        for algorithm in sorted({digest.algorithm for digest in (*documents, *blobs)}):
            archive.add_folder(f"blobs/{algorithm}")
        for digest, document in documents.items():
            archive.add(digest.blob_path, document.raw)
        small_first = sorted(blobs.values(), key=lambda blob: blob.type.role == "layer")
        self._members = {blob.digest: archive.reserve(blob.digest.blob_path, blob.size) for blob in small_first}

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Fill the place of a blob."""
        with self._members[blob.descriptor.digest] as member:
            copy_verified(stored.open(), blob.descriptor, member, advance)
        return "copied"

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """They are there."""

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:  # noqa: ARG002  # they are listed
        """Let the file appear."""
        if self._writer is not None:
            self._writer.finish()
        self._held.close()
        return {}


class DockerArchiveDestination(_Archive):
    """What ``docker save`` writes. Layers are read and inflated one after the other, each verified by its DiffID."""

    jobs: int | None = 1
    takes_tars = True

    def __init__(self, output: str, reference: str, limits: Limits) -> None:
        super().__init__(output, reference)
        self._limits = limits
        self._images: DockerArchiveWriter | None = None

    def begin(self, plans: Sequence[Plan]) -> None:
        """Refuse what is no single image, and names that Docker could not give one."""
        for plan in plans:
            if not isinstance(plan.root.document, Manifest):
                raise UnsupportedError(
                    f"{self.reference} cannot hold an index of several images",
                    hint="choose one with --platform, or write oci-archive:FILE",
                )
            config_of(plan.root)
            for name in plan.names:
                docker_name(name)
        self._images = DockerArchiveWriter(self._open())

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Write a layer; a configuration comes with its image."""
        images = self._writing()
        if blob.diff_id is None:
            return "copied"
        if images.has_layer(blob.diff_id):
            return "present"
        promised = blob.descriptor if stored.original else None
        with open_layer(
            stored.open(),
            descriptor_digest=promised.digest if promised else None,
            descriptor_size=promised.size if promised else None,
            diff_id=blob.diff_id,
            limits=self._limits,
            layer=str(blob.descriptor.digest),
        ) as stream:
            images.add_layer(blob.diff_id, stream, advance)
        return "copied"

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """It is written anew, at the end."""

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """Add the images, and let the file appear."""
        images = self._writing()
        changed: dict[Digest, Digest] = {}
        for plan in plans:
            manifest, config = plan.root.document, config_of(plan.root)
            assert isinstance(manifest, Manifest)  # noqa: S101  # begin() refuses all else
            sources = {
                diff_id: layer
                for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
                if is_foreign(layer)
            }
            changed[manifest.digest] = images.add_image(config, plan.names, sources).digest
        images.finish()
        self._held.close()
        return changed

    def _writing(self) -> DockerArchiveWriter:
        if self._images is None:
            raise ValueError("begin() comes first")
        return self._images


def _entries(plan: Plan, *, full: bool) -> list[Descriptor]:
    """What ``index.json`` lists of an image; a ``full`` name also says its tag as containerd has it."""
    root = plan.root.descriptor
    entry = Descriptor(root.media_type, root.digest, root.size, platform=root.platform)
    notes = [{REF_NAME: name, **({IMAGE_NAME: name} if full else {})} for name in plan.names]
    return [
        Descriptor(entry.media_type, entry.digest, entry.size, annotations=note, platform=entry.platform)
        for note in notes
    ] or [entry]


def _docker_lines(plan: Plan) -> list[dict[str, object]]:
    """What ``manifest.json`` says of the images of a plan: the first takes the names, and index entries follow."""
    lines: list[dict[str, object]] = []
    images = [document for document in plan.documents if document.config is not None]
    newest = max(images, key=_version, default=None)
    for document in images:
        manifest, config = document.document, config_of(document)
        assert isinstance(manifest, Manifest)  # noqa: S101  # what has a configuration is one
        line: dict[str, object] = {
            "Config": manifest.config.digest.blob_path,
            "RepoTags": [familiar_name(docker_name(name)) for name in plan.names] if document is newest else None,
            "Layers": [layer.digest.blob_path for layer in manifest.layers],
        }
        foreign = {
            str(diff_id): layer.to_json()
            for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)
            if is_foreign(layer)
        }
        if foreign:
            line["LayerSources"] = foreign
        lines.append(line)
    return lines


def _version(document: PlannedDocument) -> tuple[bool, tuple[int, ...]]:
    platform = config_of(document).platform
    numbers = platform.os_version.split(".")
    return platform.os == "windows", tuple(int(n) for n in numbers) if all(n.isdecimal() for n in numbers) else ()
