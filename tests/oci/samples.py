"""Small images for the tests, made by hand: tars, manifests, configurations, archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeVar

from wclayer.oci import Descriptor, Digest, Image, LayoutWriter, Platform, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.layout import IMAGE_NAME, REF_NAME
from wclayer.oci.mediatypes import OCI_CONFIG

WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.2700")
T = TypeVar("T")
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


class Source(io.BytesIO):
    """A source that gives at most ``step`` bytes at once, and knows whether it was closed."""

    def __init__(self, data: bytes, step: int = 1 << 30) -> None:
        super().__init__(data)
        self.step = step

    def readinto(self, buffer: Any, /) -> int:
        return super().readinto(memoryview(buffer)[: self.step])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar(members: Iterable[tuple[str, bytes | None]], *, links: Iterable[tuple[str, str, bytes]] = ()) -> bytes:
    """A tar of files (folders where the content is None) and of ``(name, target, type)`` links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        for name, target, kind in links:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = target
            archive.addfile(info)
    return out.getvalue()


def layer_tar(text: str = "hello") -> bytes:
    """A layer of the Windows shape with one file."""
    return tar([("Files", None), ("Hives", None), (f"Files/{text}.txt", text.encode())])


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def write_image(
    folder: Path,
    layers: Iterable[bytes],
    *,
    name: str = "",
    platform: Platform = WINDOWS,
    entry_platform: Platform | None = None,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    """An image of gzip layers in a layout; returns the entry of its manifest."""
    writer = LayoutWriter(folder)
    descriptors, diff_ids = [], []
    for data in layers:
        with writer.new_layer("gzip") as sink:
            sink.write(data)
        descriptors.append(sink.descriptor)
        diff_ids.append(sink.diff_id)
    config = writer.put_bytes(encode_config(platform, diff_ids), OCI_CONFIG)
    return writer.put_manifest(
        encode_manifest(config, descriptors), name=name, platform=entry_platform, annotations=annotations
    )


def dumps(document: object) -> bytes:
    return json.dumps(document).encode()


def config_json(diff_ids: Iterable[Digest], platform: Platform = WINDOWS) -> bytes:
    return encode_config(platform, diff_ids)


def old_docker_archive(
    layers: list[bytes], *, tags: list[str] | None = None, duplicate: bool = False, prefix: str = ""
) -> bytes:
    """What docker save wrote for years: ``<id>/layer.tar``, equal layers as symbolic links."""
    config = config_json([digest_of(layer) for layer in layers])
    members: list[tuple[str, bytes | None]] = []
    links = []
    paths = []
    for number, layer in enumerate(layers):
        identity = sha256(b"%d" % number)
        path = f"{identity}/layer.tar"
        members += [
            (prefix + identity, None),
            (f"{prefix}{identity}/VERSION", b"1.0"),
            (f"{prefix}{identity}/json", b"{}"),
        ]
        if duplicate and number:
            links.append((prefix + path, f"../{sha256(b'0')}/layer.tar", tarfile.SYMTYPE))
        else:
            members.append((prefix + path, layer))
        paths.append(path)
    name = f"{sha256(config)}.json"
    members.append((prefix + name, config))
    listing = [{"Config": name, "RepoTags": tags, "Layers": paths}]
    members.append((prefix + "manifest.json", dumps(listing)))
    members.append((prefix + "repositories", b"{}"))
    # Links first: the order of a saved archive is arbitrary.
    return tar(members, links=links)


def new_docker_archive(
    layers: list[bytes], *, foreign: Collection[int] = (), tag: str = "app:1", layer_paths: list[str] | None = None
) -> bytes:
    """What docker save writes now: an OCI layout with uncompressed layers, and manifest.json beside it.

    The manifest inside lists a foreign layer with its original compressed digest, for which there is no blob.
    ``layer_paths`` are other places for the layers than the blob names of their DiffIDs.
    """
    diff_ids = [digest_of(layer) for layer in layers]
    paths = layer_paths or [diff_id.blob_path for diff_id in diff_ids]
    config = config_json(diff_ids)
    descriptors: list[Descriptor] = []
    sources = {}
    for number, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True)):
        if number in foreign:
            blob = packed(layer)
            descriptor = Descriptor(FOREIGN, digest_of(blob), len(blob), urls=("https://example.invalid/blob",))
            sources[str(diff_id)] = descriptor.to_json()
        else:
            descriptor = Descriptor("application/vnd.oci.image.layer.v1.tar", diff_id, len(layer))
        descriptors.append(descriptor)
    manifest = encode_manifest(Descriptor(OCI_CONFIG, digest_of(config), len(config)), descriptors)
    entry = Descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        digest_of(manifest),
        len(manifest),
        annotations={IMAGE_NAME: f"example.invalid/{tag}", REF_NAME: tag.partition(":")[2]},
    )
    listing = [
        {
            "Config": digest_of(config).blob_path,
            "RepoTags": [tag],
            "Layers": paths,
            "LayerSources": sources,
        }
    ]
    members: list[tuple[str, bytes | None]] = [("blobs", None), ("blobs/sha256", None)]
    members += list(zip(paths, layers, strict=True))
    members += [(digest_of(config).blob_path, config), (digest_of(manifest).blob_path, manifest)]
    members.append(("index.json", dumps({"schemaVersion": 2, "manifests": [entry.to_json()]})))
    members.append(("manifest.json", dumps(listing)))
    members.append(("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'))
    return tar(members)


class Opened:
    """Opens things for a test and closes them all at its end."""

    def __init__(self) -> None:
        self._opened: list[Any] = []

    def keep(self, thing: T) -> T:
        self._opened.append(thing)
        return thing

    def image(self, *arguments: Any, **options: Any) -> Image:
        return self.keep(open_image(*arguments, **options))

    def close(self) -> None:
        for thing in self._opened:
            thing.close()


def read_layers(image: Image) -> list[bytes]:
    """The verified content of all layers of an image."""
    contents = []
    for layer in image.layers:
        with layer.stream() as stream:
            contents.append(b"".join(bytes(slab) for slab in stream))
            stream.finish()
    return contents
