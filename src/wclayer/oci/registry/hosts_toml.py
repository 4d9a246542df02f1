"""``certs.d``: what a machine's administrator wrote down about how registries are reached.

Two forms, both read as their programs document them: containerd's ``hosts.toml`` (docs/hosts.md there), with mirrors
and what each may do; and, where a folder has none, the certificate files that Docker and Podman look for (``*.crt`` are
trusted, ``*.cert`` with ``*.key`` of the same name is shown).
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError, LimitError, StoreError
from wclayer.oci.registry.tls import ClientCertificate

__all__ = ["CAPABILITIES", "HostEntry", "HostsFile", "default_folders", "find_folder", "read_folder"]

CAPABILITIES = frozenset({"pull", "resolve", "push"})
# A mirror is pushed to only where the file says so.
_OF_MIRRORS = frozenset({"pull", "resolve"})
_KNOWN = frozenset({*CAPABILITIES, "referrers"})
_FILE = "hosts.toml"
_LIMIT = 1 << 20
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host: a mirror, or the server itself. ``address`` is as it was written; empty for the registry's own."""

    address: str
    capabilities: frozenset[str] = CAPABILITIES
    ca_files: tuple[Path, ...] = ()
    client: ClientCertificate | None = None
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    override_path: bool = False
    dial_timeout: float | None = None
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class HostsFile:
    """Mirrors in the order in which they are asked, and the server that is asked after them."""

    mirrors: tuple[HostEntry, ...]
    server: HostEntry


def default_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    """The folders that containerd, Docker and Podman read on this machine, a person's own first."""
    own = Path(environment["HOME"], ".config") if environment.get("HOME") else None
    if named := environment.get("XDG_CONFIG_HOME"):
        own = Path(named)
    for root in (own, Path("/etc")):
        if root is not None:
            for program in ("containerd", "docker", "containers"):
                yield root / program / "certs.d"


def find_folder(host: str, folders: Sequence[Path]) -> Path | None:
    """The folder that speaks of ``host``, with its port: as containerd writes it, as Docker does, or ``_default``."""
    name, _, port = host.rpartition(":") if re.search(r":[0-9]+\Z", host, re.ASCII) else (host, "", "")
    names = [f"{name}_{port}_", host, f"{name}{port}"] if port else [host]
    for folder in folders:
        for candidate in [*names, "_default"]:
            if candidate == "_default" or os.sep not in candidate:
                path = folder / candidate
                try:
                    if path.is_dir():
                        return path
                except OSError:  # a name that this system cannot have
                    continue
    return None


def read_folder(folder: Path) -> HostsFile:
    """What ``folder`` says; FormatError, LimitError, StoreError."""
    path = folder / _FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return _certificates(folder)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > _LIMIT:
        raise LimitError(f"{path}: {len(raw)} bytes, more than the {_LIMIT} allowed")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not TOML: {error}", kind="toml") from None
    reader = _Reader(path)
    hosts = table.get("host", {})
    if not isinstance(hosts, dict):
        raise reader.bad("host", "a table for each address")
    mirrors = tuple(reader.entry(address, value) for address, value in hosts.items())
    server = table.get("server", "")
    if not isinstance(server, str):
        raise reader.bad("server", "an address")
    return HostsFile(mirrors, reader.entry(server, table, CAPABILITIES))


def _certificates(folder: Path) -> HostsFile:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error
    authorities = tuple(path for path in files if path.suffix == ".crt")
    client = None
    for path in files:
        if path.suffix == ".cert":
            key = path.with_suffix(".key")
            if key not in files:
                raise FormatError(f"{path}: the key {key.name} is missing beside it", kind="certs.d")
            client = client or ClientCertificate(path, key)
    return HostsFile((), HostEntry("", ca_files=authorities, client=client))


class _Reader:
    """Reads the values of one file; every error names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def bad(self, key: str, expected: str) -> FormatError:
        return FormatError(f"{self._path}: {key}: {expected} is expected", kind="hosts-toml")

    def entry(self, address: str, table: object, unsaid: frozenset[str] = _OF_MIRRORS) -> HostEntry:
        """What ``table`` says of ``address``; ``unsaid`` are the capabilities where it says nothing of them."""
        if not isinstance(table, dict):
            raise self.bad(f"host {address!r}", "a table")
        return HostEntry(
            address,
            self._capabilities(table) or unsaid,
            tuple(self._file(text) for text in self._texts(table, "ca")),
            self._client(table.get("client")),
            self._flag(table, "skip_verify"),
            tuple(self._headers(table.get("header", {}))),
            self._flag(table, "override_path"),
            self._duration(table.get("dial_timeout")),
            self._text(table, "proxy"),
        )

    def _capabilities(self, table: dict[str, Any]) -> frozenset[str]:
        given = self._texts(table, "capabilities")
        for word in given:
            if word not in _KNOWN:
                raise self.bad("capabilities", "pull, resolve, push or referrers")
        return frozenset(given)

    def _texts(self, table: dict[str, Any], key: str) -> list[str]:
        value = table.get(key, [])
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise self.bad(key, "a string or an array of strings")
        return values

    def _text(self, table: dict[str, Any], key: str) -> str | None:
        value = table.get(key)
        if value is not None and not isinstance(value, str):
            raise self.bad(key, "a string")
        return value

    def _flag(self, table: dict[str, Any], key: str) -> bool:
        value = table.get(key, False)
        if not isinstance(value, bool):
            raise self.bad(key, "true or false")
        return value

    def _file(self, text: str) -> Path:
        return self._path.parent / text

    def _client(self, value: object) -> ClientCertificate | None:
        """The first of the client certificates: TLS shows one."""
        first = value[0] if isinstance(value, list) and value else value
        if first is None or first == []:
            return None
        if isinstance(first, str):
            return ClientCertificate(self._file(first))
        if isinstance(first, list) and len(first) == 2 and all(isinstance(one, str) for one in first):
            return ClientCertificate(self._file(first[0]), self._file(first[1]) if first[1] else None)
        raise self.bad("client", "a path, an array of paths, or an array of pairs of paths")

    def _headers(self, value: object) -> Iterator[tuple[str, str]]:
        if not isinstance(value, dict):
            raise self.bad("header", "a table")
        for name, content in value.items():
            texts = [content] if isinstance(content, str) else content
            if (
                not _HEADER_NAME.fullmatch(name)
                or not isinstance(texts, list)
                or not all(isinstance(one, str) and one.isprintable() and one.isascii() for one in texts)
            ):
                raise self.bad(f"header {name!r}", "a string or an array of strings, without control characters,")
            yield name, ", ".join(texts)

    def _duration(self, value: object) -> float | None:
        if value is None:
            return None
        match = re.fullmatch(rf"(?:{_DURATION.pattern})+", value, re.ASCII) if isinstance(value, str) else None
        if not isinstance(value, str) or match is None:
            raise self.bad("dial_timeout", 'a duration such as "5s"')
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(value))
        if not 0 < seconds <= 3600:
            raise self.bad("dial_timeout", "a duration above 0 and up to an hour")
        return seconds
