"""OCI layouts of the layer tars of :mod:`tests.image.lint.tars`."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from wclayer.oci import Descriptor, Digest, LayoutWriter, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER

WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.1")


class Blob(BytesIO):
    """Bytes as a source of a blob."""


def image(
    path: Path,
    *tars: bytes,
    platform: Platform = WINDOWS,
    blobs: Sequence[bytes] = (),
    media_type: str = OCI_LAYER,
    algorithm: str = "sha256",
    diff_ids: Sequence[Digest] = (),
    config: dict[str, object] | None = None,
    tag: str = "x",
) -> str:
    """Write an image of these layers, base first; ``blobs`` are what is stored, ``diff_ids`` what is promised."""
    layout = LayoutWriter(path)
    stored: list[Descriptor] = [
        layout.put_blob(Blob(blob), media_type, digest=Digest(algorithm, hashlib.new(algorithm, blob).hexdigest()))
        for blob in (blobs or tars)
    ]
    listed = diff_ids or [digest_of(tar) for tar in tars]
    descriptor = layout.put_bytes(encode_config(platform, listed, config=config), OCI_CONFIG)
    layout.put_manifest(encode_manifest(descriptor, stored), name=tag, platform=platform)
    return f"oci:{path}:{tag}"


def pigz(data: bytes) -> bytes:
    """``data`` as gzip of several members, as parallel compressors write it."""
    return b"".join(gzip.compress(data[place : place + 1000], 1) for place in range(0, len(data), 1000))
