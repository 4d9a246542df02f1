"""What package managers leave beside what they install: a table of file names, and a reader for each.

A reader takes the bytes of one file and yields the packages that it names. Files may be hostile: they are read up to a
limit, XML with a document type is refused (entities multiply there), and names without end are not names.

Sources: the .NET runtime's "deps.json" description; NuGet's ".nuspec" and "packages.config" references; npm's
"package.json"; the Python packaging "Core metadata specification"; the package-url specification for identifiers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import Any, Final
from urllib.parse import quote
from xml.parsers import expat

from wclayer.errors import FormatError, LimitError

__all__ = ["MAX_MANIFEST", "Package", "manifest_reader", "read_manifest"]

MAX_MANIFEST: Final = 16 << 20
"""The largest manifest that is read, in bytes."""

_MAX_PACKAGES = 50_000
_MAX_NAME = 512
_NAME = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Package:
    """A package. ``kind`` is its type as package URLs have it: ``nuget``, ``npm``, ``pypi``; ``license`` as it says."""

    kind: str
    name: str
    version: str
    license: str = ""
    supplier: str = ""

    @property
    def purl(self) -> str:
        """The package URL."""
        name = self.name
        if self.kind == "pypi":
            name = re.sub(r"[-_.]+", "-", name).lower()
        elif self.kind == "npm":
            name = name.lower()
        path = "/".join(quote(part, safe="") for part in name.split("/"))
        return f"pkg:{self.kind}/{path}@{quote(self.version, safe='')}"


Reader = Callable[[bytes], Iterator[Package]]


def manifest_reader(path: str) -> Reader | None:
    """The reader for the file at the layer path ``path``; None when its name is not that of a manifest."""
    *folders, name = path.lower().split("/")
    if name.endswith(".deps.json"):
        return _deps_json
    if name.endswith(".nuspec"):
        return _nuspec
    if name == "packages.config":
        return _packages_config
    if name == "package.json":
        return _package_json if _is_package_root(folders) else None
    parent = folders[-1] if folders else ""
    if (
        (name == "metadata" and parent.endswith(".dist-info"))
        or (name == "pkg-info" and parent.endswith(".egg-info"))
        or name.endswith(".egg-info")
    ):
        return _python_metadata
    return None


def read_manifest(path: str, data: bytes) -> list[Package]:
    """The packages that the manifest ``data``, found at the layer path ``path``, names.

    Raises FormatError for one that is not what its name says, LimitError for more packages than anybody has.
    """
    reader = manifest_reader(path)
    packages: list[Package] = []
    for package in reader(data) if reader else ():
        if len(packages) == _MAX_PACKAGES:
            raise LimitError(f"a manifest of more than {_MAX_PACKAGES} packages")
        packages.append(package)
    return packages


def _is_package_root(folders: list[str]) -> bool:
    """Whether a package.json there is that of a package, and not one that lies within a package."""
    if "node_modules" not in folders:
        return True
    inner = folders[len(folders) - folders[::-1].index("node_modules") :]
    return len(inner) == (2 if inner and inner[0].startswith("@") else 1)


def _package(kind: str, name: object, version: object, **more: str) -> Iterator[Package]:
    """The package, when it has a name and a version that can be ones."""
    if isinstance(name, str) and isinstance(version, str):
        name, version = name.strip(), version.strip()
        if 0 < len(name) <= _MAX_NAME and 0 < len(version) <= _MAX_NAME and _NAME.fullmatch(name + version):
            yield Package(kind, name, version, **{key: text.strip()[:_MAX_NAME] for key, text in more.items()})


# ---------------------------------------------------------------------- .NET and NuGet


def _deps_json(data: bytes) -> Iterator[Package]:
    libraries = _json(data).get("libraries")
    for key, about in (libraries if isinstance(libraries, dict) else {}).items():
        if isinstance(about, dict) and str(about.get("type", "")).lower() in ("package", "runtimepack"):
            name, _, version = key.partition("/")
            yield from _package("nuget", name, version)


def _nuspec(data: bytes) -> Iterator[Package]:
    texts: dict[str, str] = {}

    def found(path: tuple[str, ...], _attributes: dict[str, str], text: str) -> None:
        if path[:-1] == ("package", "metadata"):
            texts.setdefault(path[-1], text)

    _xml(data, found)
    yield from _package(
        "nuget", texts.get("id"), texts.get("version"), license=texts.get("license", ""), supplier=_authors(texts)
    )


def _authors(texts: dict[str, str]) -> str:
    return texts.get("authors", "")


def _packages_config(data: bytes) -> Iterator[Package]:
    packages: list[Package] = []

    def found(path: tuple[str, ...], attributes: dict[str, str], _text: str) -> None:
        if path == ("packages", "package"):
            packages.extend(_package("nuget", attributes.get("id"), attributes.get("version")))

    _xml(data, found)
    yield from packages


def _xml(data: bytes, found: Callable[[tuple[str, ...], dict[str, str], str], None]) -> None:
    """Call ``found`` for every element, at its end: the names down to it, its attributes, the text directly in it."""
    parser = expat.ParserCreate(namespace_separator=" ")
    waiting: list[tuple[str, dict[str, str], list[str]]] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(waiting) >= 64:
            raise FormatError("XML that is nested more than 64 levels deep", kind="xml")
        waiting.append((name.rpartition(" ")[2], attributes, []))

    def end(_name: str) -> None:
        path = tuple(name for name, _, _ in waiting)
        _, attributes, pieces = waiting.pop()
        found(path, attributes, "".join(pieces))

    def text(piece: str) -> None:
        if waiting and len(waiting[-1][2]) < 64:
            waiting[-1][2].append(piece[:_MAX_NAME])

    def refuse(*_: object) -> None:
        raise FormatError("XML with a document type, which no package manager writes", kind="xml")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise FormatError(f"no XML: {error}", kind="xml") from None


# ---------------------------------------------------------------------- npm


def _package_json(data: bytes) -> Iterator[Package]:
    document = _json(data)
    licence = document.get("license")
    yield from _package(
        "npm", document.get("name"), document.get("version"), license=licence if isinstance(licence, str) else ""
    )


def _json(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"no JSON: {error}", kind="json") from None
    if not isinstance(document, dict):
        raise FormatError("JSON, but no object", kind="json")
    return document


# ---------------------------------------------------------------------- Python


def _python_metadata(data: bytes) -> Iterator[Package]:
    head = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    message = BytesHeaderParser().parsebytes(head)

    def text(name: str) -> str:
        value = str(message.get(name, ""))
        return "" if "\n" in value else value

    licence = text("License-Expression") or text("License")
    yield from _package(
        "pypi", text("Name"), text("Version"), license=licence, supplier=text("Author") or text("Author-email")
    )
