"""A digest names content, and it names a file: so it is checked to the letter before anything is done with it.

The grammar and the two registered algorithms are those of the OCI image specification (descriptor.md, "Digests").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from wclayer.errors import DigestMismatchError, FormatError, UnsafeEntryError, UnsupportedError

__all__ = ["Digest", "Hash", "digest_of", "new_hash", "require_digest"]

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HASHES: dict[str, Callable[[], Hash]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_GRAMMAR = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_UNSAFE = re.compile(r"[/\\\x00]|\.\.")


class Hash(Protocol):
    """What is used of a hashlib object."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more data."""

    def hexdigest(self) -> str:
        """The hash of the data so far, in lower-case hexadecimal."""


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """An algorithm (``sha256`` or ``sha512``) and the lower-case hexadecimal hash of some content.

    Raises, when made: UnsafeEntryError for text that could leave a blob folder, UnsupportedError for an algorithm
    that is not registered, FormatError for everything else that is no digest.
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        text = f"{self.algorithm}:{self.hex}"
        if _UNSAFE.search(text):
            raise UnsafeEntryError(f"a digest with a path in it: {text[:200]!r}")
        if not _GRAMMAR.fullmatch(text):
            raise FormatError(f"not a digest: {text[:200]!r}", kind="digest")
        length = _HEX_LENGTH.get(self.algorithm)
        if length is None:
            raise UnsupportedError(f"digest algorithm {self.algorithm!r}: only sha256 and sha512 are registered")
        if len(self.hex) != length or not _HEX.fullmatch(self.hex):
            raise FormatError(
                f"a {self.algorithm} digest has {length} lower-case hexadecimal digits, not {self.hex[:200]!r}",
                kind="digest",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The digest that ``text`` spells, as ``sha256:…``. Raises as the class does."""
        algorithm, colon, encoded = text.partition(":")
        if not colon:
            raise FormatError(f"not a digest: {text[:200]!r}", kind="digest")
        return cls(algorithm, encoded)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self.hex[:12]

    @property
    def blob_path(self) -> str:
        """Where an OCI layout keeps the blob, relative to the layout."""
        return f"blobs/{self.algorithm}/{self.hex}"


def new_hash(algorithm: str = "sha256") -> Hash:
    """A fresh hash object of a registered algorithm; raises UnsupportedError for another."""
    try:
        return _HASHES[algorithm]()
    except KeyError:
        raise UnsupportedError(f"digest algorithm {algorithm!r}: only sha256 and sha512 are registered") from None


def digest_of(data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
    """The digest of ``data``."""
    state = new_hash(algorithm)
    state.update(data)
    return Digest(algorithm, state.hexdigest())


def require_digest(expected: Digest, data: bytes, *, what: str, size: int | None = None) -> None:
    """Check ``data`` against the digest, and the size in bytes, that were promised; DigestMismatchError."""
    if size is not None and len(data) != size:
        raise DigestMismatchError(f"{what} {expected} has {len(data)} bytes where {size} were promised")
    actual = digest_of(data, expected.algorithm)
    if actual != expected:
        raise DigestMismatchError(f"{what} has the digest {actual} where {expected} was promised")
