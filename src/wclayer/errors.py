"""Every error this package raises on purpose.

One tree, one rule: an error says *what* went wrong, *where* (image, layer, path), *why*, and *what to do next*.
The class decides the exit code of the command line, so a script can tell a damaged download from a typing mistake.
"""

from __future__ import annotations

from typing import Self

__all__ = [
    "AuthenticationError",
    "DigestMismatchError",
    "FormatError",
    "IntegrityError",
    "LimitError",
    "NetworkError",
    "NotFoundError",
    "StoreError",
    "UnsafeEntryError",
    "UnsupportedError",
    "UsageError",
    "WclayerError",
]


class WclayerError(Exception):
    """Base of the tree.

    ``message`` says what went wrong and why, in one sentence without a full stop. ``image``, ``layer`` and ``path``
    say where; code that knows more than the place that raised adds it with :meth:`locate`. ``hint`` says what to do.
    """

    exit_code = 8

    def __init__(
        self,
        message: str,
        *,
        image: str | None = None,
        layer: str | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.image = image
        self.layer = layer
        self.path = path
        self.hint = hint

    def locate(self, *, image: str | None = None, layer: str | None = None, path: str | None = None) -> Self:
        """Fill in the places that are not known yet and return the error, for ``raise error.locate(...)``."""
        self.image = self.image or image
        self.layer = self.layer or layer
        self.path = self.path or path
        return self

    def __str__(self) -> str:
        where = [
            f"{label} {_printable(value)}"
            for label, value in (("image", self.image), ("layer", self.layer), ("entry", self.path))
            if value
        ]
        text = f"{', '.join(where)}: {self.message}" if where else self.message
        return f"{text} ({self.hint})" if self.hint else text


class UsageError(WclayerError):
    """The request itself makes no sense: a bad reference, an option that contradicts another."""

    exit_code = 2


class NotFoundError(WclayerError):
    """An image, a layer, a platform or a path is not there."""

    exit_code = 3


class AuthenticationError(WclayerError):
    """A registry does not know who asks, or does not let them."""

    exit_code = 4


class NetworkError(WclayerError):
    """A registry cannot be reached, breaks off, or answers what no registry may."""

    exit_code = 5


class IntegrityError(WclayerError):
    """The bytes are not what they must be: damaged, hostile, or not what a digest promised."""

    exit_code = 6


class FormatError(IntegrityError):
    """Bytes that do not follow their format.

    ``kind`` is a short stable word for the class of the defect (``tar-header``, ``base64``, ``unexpected-eof``, …),
    so that callers and conformance suites need not read the message.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "malformed",
        image: str | None = None,
        layer: str | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, image=image, layer=layer, path=path, hint=hint)
        self.kind = kind


class UnsafeEntryError(IntegrityError):
    """A layer entry that would leave the layer, pass through a link, or overwrite what is there."""


class DigestMismatchError(IntegrityError):
    """Content whose digest or size is not the one promised."""


class LimitError(IntegrityError):
    """Content larger than any honest content of its kind: a decompression bomb, a header without end."""


class UnsupportedError(WclayerError):
    """Well formed, but nothing this package (or this platform) can do."""

    exit_code = 7


class StoreError(WclayerError):
    """The file system said no: disk full, permission, a folder that is not what it was."""

    exit_code = 8


def _printable(text: str) -> str:
    """``text`` with control characters and lone surrogates escaped, so that a name cannot paint the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
