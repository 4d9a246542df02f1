"""The components of an image while they are gathered: kept on disk, and given back in an order that is always the same.

An image has a hundred thousand files, and layers are read in whatever order is cheapest. So components go to a
temporary database as they are found, and come out sorted by kind, path and name, one at a time.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from wclayer.errors import StoreError

__all__ = ["KINDS", "Component", "Inventory", "Kind", "Subject", "is_license_expression", "plain_text"]

Kind = Literal["os", "update", "software", "framework", "package", "file"]

KINDS: Final[tuple[Kind, ...]] = ("os", "update", "software", "framework", "package", "file")
"""The kinds in the order in which a bill lists them."""

_MAX_TEXT: Final = 4096
_LICENSES = re.compile(r"[A-Z0-9][A-Z0-9.+-]*(?: (?:AND|OR|WITH) [A-Z0-9][A-Z0-9.+-]*){0,20}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Component:
    """Something an image holds.

    ``layer`` is the number of the layer that brought it, from 0, the base. ``path`` is the layer path of the file it
    was found in, empty for what the registry says. ``properties`` are further facts, names and texts. Empty texts are
    what is not known.
    """

    kind: Kind
    name: str
    version: str
    layer: int
    path: str = ""
    supplier: str = ""
    purl: str = ""
    cpe: str = ""
    license: str = ""
    sha256: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        """An identifier that is the same for the same component of the same layer, in any run."""
        facts = json.dumps([self.kind, self.name, self.version, self.layer, self.path, self.properties])
        return f"{self.kind}-{hashlib.sha256(facts.encode()).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Subject:
    """The image itself. ``layers`` are the DiffIDs, base first, None where one is not known.

    ``created`` counts seconds since 1970; ``notes`` say what could not be looked at.
    """

    reference: str
    digest: str | None
    layers: tuple[str | None, ...]
    created: int
    tool_version: str
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """What the identifier of the bill is made of: the image, and who looked at it."""
        layers = [layer or "-" for layer in self.layers]
        return "\n".join([self.digest or self.reference, *layers, self.tool_version, str(self.created)])

    def layer_id(self, number: int) -> str | None:
        """The DiffID of a layer."""
        return self.layers[number] if 0 <= number < len(self.layers) else None


class Inventory:
    """Components, on disk until this is closed. One that is added twice is there once."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)  # a temporary file that nobody else sees
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute("PRAGMA cache_size=-8192")
        self._database.execute(
            "CREATE TABLE component (ref TEXT PRIMARY KEY, kind INTEGER, path TEXT, name TEXT, version TEXT, data TEXT)"
            " WITHOUT ROWID"
        )
        self.counts: dict[Kind, int] = dict.fromkeys(KINDS, 0)

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, component: Component) -> None:
        """Keep a component; its texts are made :func:`plain_text`. StoreError when there is no room for it."""
        one = _plain(component)
        data = json.dumps(
            [
                one.kind,
                one.name,
                one.version,
                one.layer,
                one.path,
                one.supplier,
                one.purl,
                one.cpe,
                one.license,
                one.sha256,
                one.properties,
            ]
        )
        row = (one.ref, KINDS.index(one.kind), one.path, one.name, one.version, data)
        try:
            added = self._database.execute("INSERT OR IGNORE INTO component VALUES (?, ?, ?, ?, ?, ?)", row).rowcount
        except sqlite3.Error as error:
            raise StoreError(f"cannot keep components in the temporary folder: {error}") from error
        self.counts[one.kind] += added

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Component]:
        rows = self._database.execute("SELECT data FROM component ORDER BY kind, path, name, version, ref")
        for (data,) in rows:
            kind, name, version, layer, path, supplier, purl, cpe, licence, sha256, properties = json.loads(data)
            pairs = tuple((key, text) for key, text in properties)
            yield Component(kind, name, version, layer, path, supplier, purl, cpe, licence, sha256, pairs)


def is_license_expression(text: str) -> bool:
    """Whether ``text`` looks like an SPDX licence expression without parentheses.

    Only such ones are given to the parsers of licences, which do not expect hostile text.
    """
    return _LICENSES.fullmatch(text) is not None


def plain_text(text: str) -> str:
    """``text`` as every reader of JSON takes it: no lone surrogates, no control characters, and of bounded length."""
    if not text.isascii() or not text.isprintable():
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        text = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return text[:_MAX_TEXT].strip()


def _plain(one: Component) -> Component:
    return Component(
        one.kind,
        plain_text(one.name) or "unnamed",
        plain_text(one.version),
        one.layer,
        plain_text(one.path),
        plain_text(one.supplier),
        plain_text(one.purl),
        one.cpe,
        plain_text(one.license),
        one.sha256,
        tuple((name, plain_text(text)) for name, text in one.properties),
    )
