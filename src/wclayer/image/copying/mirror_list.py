r"""The list of images that a mirror keeps: plain lines, or TOML where more has to be said.

Plain: one image a line, ``SOURCE [DESTINATION]``; empty lines and what follows ``#`` do not count. TOML, in a file that
ends in ``.toml``::

    to = "registry.example/mirror"           # where images without a destination go
    platforms = ["ltsc2019", "ltsc2022"]     # for all images that do not say it
    foreign = "fetch"

    [[image]]
    source = "base.example/windows/nanoserver"
    tags = "ltsc20(19|22)"                   # all tags that this expression matches as a whole

    [[image]]
    source = "base.example/dotnet/runtime:8.0"
    destination = "registry.example/dotnet:8.0"
    all-platforms = true
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from wclayer.errors import LimitError, NotFoundError, UsageError
from wclayer.image.copying.foreign import ForeignPolicy
from wclayer.oci.sources import store_error

__all__ = ["MirrorEntry", "MirrorList", "parse_mirror_list", "read_mirror_list"]

_LIMIT = 16 << 20
_SHARED = {"platforms", "all-platforms", "foreign"}
_KEYS = _SHARED | {"source", "destination", "tags"}


@dataclass(frozen=True, slots=True)
class MirrorEntry:
    """A line of the list. ``place`` says where it stands; ``tags`` matches whole tags of a repository."""

    source: str
    destination: str | None
    place: str
    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    foreign: ForeignPolicy | None = None
    tags: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class MirrorList:
    """The whole list; ``to`` is where images without a destination go, None when it does not say."""

    entries: tuple[MirrorEntry, ...]
    to: str | None = None


def read_mirror_list(path: Path) -> MirrorList:
    """Read the list in the file ``path``. NotFoundError, StoreError, and what :func:`parse_mirror_list` raises."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFoundError(f"no such file: {path}") from None
    except OSError as error:
        raise store_error(error, f"cannot read {path}") from error
    if len(raw) > _LIMIT:
        raise LimitError(f"{path}: a list of more than {_LIMIT} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text: {error}") from None
    return parse_mirror_list(text, str(path), is_toml=path.suffix.lower() == ".toml")


def parse_mirror_list(text: str, name: str, *, is_toml: bool) -> MirrorList:
    """The list that ``text`` holds; ``name`` names it in errors. Raises UsageError with the line or the table."""
    return _toml(text, name) if is_toml else _plain(text, name)


def _plain(text: str, name: str) -> MirrorList:
    entries = []
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"(?:^|\s)#.*", "", line).split()
        if len(words) > 2:
            raise UsageError(f"{name}, line {number}: SOURCE [DESTINATION] is expected", hint="use TOML to say more")
        if words:
            entries.append(MirrorEntry(words[0], words[1] if len(words) > 1 else None, f"{name}, line {number}"))
    return MirrorList(tuple(entries))


def _toml(text: str, name: str) -> MirrorList:
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{name}: not TOML: {error}") from None
    _require_keys(document, _SHARED | {"to", "image"}, name)
    images = document.get("image", [])
    if not isinstance(images, list) or not all(isinstance(one, dict) for one in images):
        raise UsageError(f"{name}: [[image]] is expected")
    entries = []
    for number, image in enumerate(images, 1):
        place = f"{name}, image {number}"
        _require_keys(image, _KEYS, place)
        both = {**{key: document[key] for key in _SHARED & document.keys()}, **image}
        if "platforms" in image:
            both.pop("all-platforms", None)
        if image.get("all-platforms"):
            both.pop("platforms", None)
        entries.append(_entry(both, place))
    return MirrorList(tuple(entries), _text(document, "to", name))


def _entry(table: Mapping[str, Any], place: str) -> MirrorEntry:
    source, destination = _text(table, "source", place), _text(table, "destination", place)
    if source is None:
        raise UsageError(f"{place}: there is no source")
    platforms = table.get("platforms", [])
    if not isinstance(platforms, list) or not all(isinstance(one, str) for one in platforms):
        raise UsageError(f"{place}: platforms is a list of texts")
    all_platforms = table.get("all-platforms", False)
    if not isinstance(all_platforms, bool):
        raise UsageError(f"{place}: all-platforms is true or false")
    foreign = _text(table, "foreign", place)
    if foreign is not None and foreign not in get_args(ForeignPolicy):
        raise UsageError(f"{place}: foreign is one of {', '.join(get_args(ForeignPolicy))}")
    pattern = _text(table, "tags", place)
    try:
        tags = None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise UsageError(f"{place}: tags is no regular expression: {error}") from None
    if tags is not None and destination is not None:
        raise UsageError(f"{place}: several tags cannot have one destination", hint="leave it out, and give --to")
    return MirrorEntry(
        source, destination, place, tuple(platforms), all_platforms, cast(ForeignPolicy | None, foreign), tags
    )


def _text(table: Mapping[str, Any], key: str, place: str) -> str | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{place}: {key} is a text")
    return value or None


def _require_keys(table: Mapping[str, Any], known: set[str], place: str) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise UsageError(f"{place}: {unknown[0]} is not known", hint=f"known are {', '.join(sorted(known))}")
