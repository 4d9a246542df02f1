from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import DigestMismatchError, FormatError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.oci.digests import Digest, digest_of, new_hash, require_digest

HEX = "ab" * 32


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_is_what_hashlib_says(algorithm: str) -> None:
    digest = digest_of(b"layer", algorithm)
    assert str(digest) == f"{algorithm}:{hashlib.new(algorithm, b'layer').hexdigest()}"
    assert Digest.parse(str(digest)) == digest
    assert digest.blob_path == f"blobs/{algorithm}/{digest.hex}"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", FormatError),
        ("sha256", FormatError),
        ("sha256:", FormatError),
        (f"sha256:{HEX[:-1]}", FormatError),
        (f"sha256:{HEX}0", FormatError),
        (f"sha256:{HEX.upper()}", FormatError),
        (f"SHA256:{HEX}", FormatError),
        (f"sha256:{HEX[:-1]}g", FormatError),
        (f"sha256:{HEX}\n", FormatError),
        (f"sha256:{HEX[:-1]}\u0661", FormatError),
        (f"sha512:{HEX}", FormatError),
        (f"sha384:{HEX}", UnsupportedError),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", UnsupportedError),
        ("sha256:../../../etc/passwd", UnsafeEntryError),
        (f"sha256:{HEX}/..", UnsafeEntryError),
        (f"../sha256:{HEX}", UnsafeEntryError),
        ("sha256:a\\b", UnsafeEntryError),
        ("sha256:a\0b", UnsafeEntryError),
    ],
)
def test_everything_else_is_refused(text: str, error: type[WclayerError]) -> None:
    with pytest.raises(error):
        Digest.parse(text)


@given(st.text())
def test_parsing_raises_nothing_but_errors_of_the_package(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except WclayerError:
        return
    assert str(digest) == text


def test_a_wrong_digest_and_a_wrong_size_name_both_sides() -> None:
    digest = digest_of(b"right")
    require_digest(digest, b"right", what="blob", size=5)
    with pytest.raises(DigestMismatchError, match=str(digest)) as caught:
        require_digest(digest, b"wrong", what="blob")
    assert str(digest_of(b"wrong")) in str(caught.value)
    with pytest.raises(DigestMismatchError, match="5 bytes where 6"):
        require_digest(digest, b"right", what="blob", size=6)


def test_only_registered_algorithms_are_computed() -> None:
    with pytest.raises(UnsupportedError):
        new_hash("md5")
