"""Which base an image stands on: its lowest layers, by their DiffIDs, looked up in a catalogue.

A DiffID is the digest of a layer's uncompressed tar, so it is the same wherever and however the layer was compressed;
digests of blobs change with every tool that packs them anew, and say nothing here. The longest chain of the catalogue
that an image begins with is its base. Where only the first layers of one are those of the image, the base is another
revision of the same, which the catalogue does not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.image.documents import open_named
from wclayer.image.index_listing import walk_entries
from wclayer.image.inspecting import inspect
from wclayer.image.whole import new_file
from wclayer.oci.digests import Digest
from wclayer.oci.strictjson import parse_object
from wclayer.writing import write_whole

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = [
    "CATALOG_SCHEMA",
    "BaseAnswer",
    "Catalog",
    "KnownBase",
    "base_of",
    "default_catalog_file",
    "known_bases",
]

CATALOG_SCHEMA: Final = "wclayer.catalog/1"
_VARIABLE = "WCLAYER_CATALOG"
_LIMIT = 64 << 20
_MAX_CHAIN = 128


def default_catalog_file() -> Path:
    """Where the catalogue of this user is: ``WCLAYER_CATALOG``, else ``wclayer/catalog.json`` in the data folder."""
    named = os.environ.get(_VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("wclayer", appauthor=False) / "catalog.json"


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base image: the reference it was found under, what its configuration says, its DiffIDs, base first."""

    name: str
    os_version: str
    architecture: str
    diff_ids: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The values as the catalogue has them."""
        return {
            "name": self.name,
            "os.version": self.os_version,
            "architecture": self.architecture,
            "diff_ids": list(self.diff_ids),
        }


@dataclass(frozen=True, slots=True)
class BaseAnswer:
    """What the catalogue says of an image.

    ``bases`` are all names of the longest chain that the image begins with, ``base_layers`` its length. ``related`` are
    bases of which only the first ``shared_layers`` layers are those of the image, when there is no base.
    """

    reference: str
    diff_ids: tuple[str, ...]
    bases: tuple[KnownBase, ...]
    base_layers: int
    related: tuple[KnownBase, ...] = ()
    shared_layers: int = 0

    def to_json(self) -> dict[str, Any]:
        """The values as JSON has them."""
        return {
            "reference": self.reference,
            "known": bool(self.bases),
            "bases": [one.to_json() for one in self.bases],
            "base_layers": self.base_layers,
            "own_layers": len(self.diff_ids) - self.base_layers if self.bases else None,
            "related": [one.to_json() for one in self.related],
            "shared_layers": self.shared_layers,
            "diff_ids": list(self.diff_ids),
        }


@dataclass(slots=True)
class Catalog:
    """The bases that are known, in the order in which they are written: by name, version and chain."""

    bases: list[KnownBase] = field(default_factory=list)

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Read the file. NotFoundError when there is none, FormatError when it is no catalogue."""
        try:
            with path.open("rb") as file:
                raw = file.read(_LIMIT + 1)
        except FileNotFoundError:
            raise NotFoundError(
                f"there is no catalogue at {path}",
                hint="make one: wclayer catalog update REF, or --from oci:DIR",
            ) from None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        document = parse_object(raw, what=str(path), limit=_LIMIT).as_object()
        listed = document.get("images")
        if document.get("schema") != CATALOG_SCHEMA or not isinstance(listed, list):
            raise FormatError(f"{path} is no catalogue: its schema is not {CATALOG_SCHEMA}", kind="catalog")
        return cls([_known(one, path) for one in listed])

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all; StoreError."""
        document = {"schema": CATALOG_SCHEMA, "images": [one.to_json() for one in self.bases]}
        text = json.dumps(document, indent=1, ensure_ascii=True) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make {path.parent}: {error.strerror}") from error
        with new_file(path) as file:
            write_whole(file.write, text.encode())

    def add(self, found: Iterable[KnownBase]) -> int:
        """Add what is not there yet; how many that were. Older chains of a name stay: images still stand on them."""
        there = set(self.bases)
        new = set(found) - there
        self.bases = sorted(there | new, key=lambda one: (one.name, one.os_version, one.architecture, one.diff_ids))
        return len(new)

    @property
    def names(self) -> list[str]:
        """The references that are in it."""
        return sorted({one.name for one in self.bases})

    def match(self, reference: str, diff_ids: Sequence[str]) -> BaseAnswer:
        """What the image with these DiffIDs, base first, stands on."""
        chain = tuple(diff_ids)
        bases = [one for one in self.bases if one.diff_ids == chain[: len(one.diff_ids)]]
        if bases:
            longest = max(len(one.diff_ids) for one in bases)
            return BaseAnswer(reference, chain, tuple(one for one in bases if len(one.diff_ids) == longest), longest)
        shared = max((_common(one.diff_ids, chain) for one in self.bases), default=0)
        related = [one for one in self.bases if shared and _common(one.diff_ids, chain) == shared]
        return BaseAnswer(reference, chain, (), 0, tuple(related), shared)


def base_of(
    target: str, catalog: Catalog, *, platform: str | None = None, network: Network | None = None
) -> BaseAnswer:
    """What the image, unpacked image or layer folder ``target`` stands on. No layer is read.

    Raises UnsupportedError when the DiffIDs of ``target`` are not known, and what opening it raises.
    """
    layers = inspect(target, platform=platform, network=network)["layers"]
    diff_ids = [layer["diff_id"] for layer in layers]
    if not diff_ids or None in diff_ids:
        raise UnsupportedError("the DiffIDs of its layers are not known, and nothing else identifies a base").locate(
            image=target
        )
    return catalog.match(target, diff_ids)


def known_bases(reference: str, *, network: Network | None = None) -> list[KnownBase]:
    """The Windows images that ``reference`` names, all of an index, as entries of a catalogue. No layer is read.

    Raises UsageError when there is no Windows image, and what reading documents raises.
    """
    found = []
    try:
        with open_named(reference, network) as named:
            for entry in walk_entries(named):
                if entry.kind != "image" or entry.platform is None or entry.platform.os != "windows":
                    continue
                _, config = named.config(entry.descriptor)
                if not config.diff_ids:
                    continue  # every image begins with no layers
                found.append(
                    KnownBase(
                        reference,
                        config.platform.os_version,
                        config.platform.architecture,
                        tuple(str(diff_id) for diff_id in config.diff_ids),
                    )
                )
    except WclayerError as error:
        raise error.locate(image=reference) from None
    if not found:
        raise UsageError("there is no Windows image").locate(image=reference)
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count


def _known(value: object, path: Path) -> KnownBase:
    if isinstance(value, dict):
        name, version, architecture = (value.get(key) for key in ("name", "os.version", "architecture"))
        chain = value.get("diff_ids")
        if (
            isinstance(name, str)
            and isinstance(version, str)
            and isinstance(architecture, str)
            and isinstance(chain, list)
            and 0 < len(chain) <= _MAX_CHAIN
        ):
            return KnownBase(name, version, architecture, tuple(str(Digest.parse(str(one))) for one in chain))
    raise FormatError(f"{path} is a damaged catalogue", kind="catalog", hint="make it anew: wclayer catalog update")
