from __future__ import annotations

import pytest

from wclayer.oci.mediatypes import bare, classify

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."

# media type, role, compression, distributable: the table of the two specifications
TABLE = [
    (f"{OCI}layer.v1.tar", "layer", "none", True),
    (f"{OCI}layer.v1.tar+gzip", "layer", "gzip", True),
    (f"{OCI}layer.v1.tar+zstd", "layer", "zstd", True),
    (f"{OCI}layer.nondistributable.v1.tar", "layer", "none", False),
    (f"{OCI}layer.nondistributable.v1.tar+gzip", "layer", "gzip", False),
    (f"{OCI}layer.nondistributable.v1.tar+zstd", "layer", "zstd", False),
    (f"{DOCKER}image.rootfs.diff.tar", "layer", None, True),
    (f"{DOCKER}image.rootfs.diff.tar.gzip", "layer", "gzip", True),
    (f"{DOCKER}image.rootfs.diff.tar.zstd", "layer", "zstd", True),
    (f"{DOCKER}image.rootfs.foreign.diff.tar", "layer", None, False),
    (f"{DOCKER}image.rootfs.foreign.diff.tar.gzip", "layer", "gzip", False),
    (f"{OCI}config.v1+json", "config", None, True),
    (f"{DOCKER}container.image.v1+json", "config", None, True),
    (f"{OCI}manifest.v1+json", "manifest", None, True),
    (f"{DOCKER}distribution.manifest.v2+json", "manifest", None, True),
    (f"{OCI}index.v1+json", "index", None, True),
    (f"{DOCKER}distribution.manifest.list.v2+json", "index", None, True),
    (f"{DOCKER}distribution.manifest.v1+json", "schema1", None, True),
    (f"{DOCKER}distribution.manifest.v1+prettyjws", "schema1", None, True),
    ("application/vnd.oci.empty.v1+json", "empty", None, True),
    ("text/plain", "other", None, True),
    ("", "other", None, True),
]


@pytest.mark.parametrize(("text", "role", "compression", "distributable"), TABLE)
def test_the_table(text: str, role: str, compression: str | None, distributable: bool) -> None:
    found = classify(text)
    assert (found.base, found.role, found.compression, found.distributable) == (text, role, compression, distributable)


def test_parameters_do_not_matter_and_letter_case_does() -> None:
    text = f"{OCI}manifest.v1+json"
    assert classify(f"{text}; charset=utf-8") == classify(text)
    assert bare(f"{text} ;q=1;b=2") == text
    assert classify(text.upper()).role == "other"
