r"""Registry text: the ``.reg`` files that regedit exports and imports, as an ordered list of sections.

A section is a key that is made or changed, with its values, or a key that is deleted. The order counts: ``[-K]`` and
then ``[K]`` makes the key anew. Between such text and hives stand two steps: :func:`sections_of` takes a tree apart
(the tree of a delta hive too, whose tombstones become deletions), :func:`delta_of` makes the delta that does what the
sections say. Classes, descriptors and times have no place in the text.

Windows writes UTF-16LE with a byte order mark and CRLF; UTF-8 and, for ``REGEDIT4``, the western code page are read as
well. Source: Microsoft, "How to add, modify, or delete registry subkeys and values by using a .reg file".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from wclayer.errors import FormatError, UnsupportedError, UsageError
from wclayer.ntfs.names import fold, to_utf16le
from wclayer.regf.tree import (
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_LOCAL,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    REG_BINARY,
    REG_DWORD,
    REG_EXPAND_SZ,
    REG_MULTI_SZ,
    REG_SZ,
    HiveKey,
    HiveValue,
)

__all__ = ["RegSection", "delta_of", "encode_reg", "parse_reg", "sections_of", "write_reg"]

_HEADER: Final = "Windows Registry Editor Version 5.00"
_OLD_HEADER: Final = "REGEDIT4"
_LINE: Final = 76
_QUOTED: Final = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_HEX: Final = re.compile(r"hex(?:\(([0-9a-f]{1,8})\))?:", re.IGNORECASE)
_DWORD: Final = re.compile(r"dword:[ \t]*([0-9a-f]{1,8})(?![0-9a-z])", re.IGNORECASE)
_BLANK: Final = re.compile(r"[ \t]*")
_BETWEEN: Final = re.compile(r"\s*")
_REST: Final = re.compile(r"[ \t]*(?:;[^\n]*)?(?:\r?\n|\Z)")
_ANSI_TYPES: Final = (REG_SZ, REG_EXPAND_SZ, REG_MULTI_SZ)
_NOT_IN_A_STRING: Final = re.compile("[\0\r\n]")


@dataclass(slots=True)
class RegSection:
    r"""One ``[path]`` of a file, with the values below it, or one ``[-path]``.

    The path is as it is written (``HKEY_LOCAL_MACHINE\SOFTWARE\Example``). A value that is deleted (``"name"=-``) is
    a tombstone.
    """

    path: str
    deleted: bool = False
    values: list[HiveValue] = field(default_factory=list)


def parse_reg(data: bytes | str) -> list[RegSection]:
    """The sections of a ``.reg`` file, in order. Raises FormatError, with the number of the line."""
    text = data if isinstance(data, str) else _decoded(data)
    return _Parser(text.removeprefix("\ufeff")).sections()


def write_reg(sections: Iterable[RegSection], *, skipped: list[str] | None = None) -> str:
    """The text of a ``.reg`` file, with CRLF line ends, as regedit writes it; :func:`encode_reg` makes its bytes.

    A key whose path is empty, begins with a hyphen, or holds a NUL or a line end, and a value whose name holds a NUL,
    cannot be written: they are put in the list ``skipped``, or, without one, raise UnsupportedError.
    """
    lines = [_HEADER, ""]
    for section in sections:
        if _NOT_IN_A_STRING.search(section.path) or section.path[:1] in ("", "-"):
            _skip(section.path, skipped)
            continue
        lines.append(f"[{'-' if section.deleted else ''}{section.path}]")
        for value in section.values:
            if "\0" in value.name:
                _skip(f"{section.path}\\{value.name}", skipped)
            else:
                lines.append(_value_text(value))
        lines.append("")
    return "\r\n".join([*lines, ""])


def encode_reg(text: str) -> bytes:
    """``text`` as regedit stores it: UTF-16LE behind a byte order mark."""
    return b"\xff\xfe" + to_utf16le(text)


def sections_of(key: HiveKey, path: str, *, skipped: list[str] | None = None) -> Iterator[RegSection]:
    """The sections that make ``key``, which is called ``path`` as a whole, and everything below it.

    Of a delta, tombstones become deletions, and a key that supersedes its tree is deleted first. One that supersedes
    only its own values cannot be said in such text: its path is put in the list ``skipped``, or, without one, raises
    UnsupportedError; what is below it follows all the same.
    """
    waiting = [(key, path, False)]
    while waiting:
        key, path, anew = waiting.pop()
        semantics = key.layer & LAYER_SUPERSEDE_TREE
        if semantics == LAYER_TOMBSTONE:
            yield RegSection(path, deleted=True)
            continue
        if semantics == LAYER_SUPERSEDE_TREE and not anew:
            yield RegSection(path, deleted=True)
        if semantics == LAYER_SUPERSEDE_LOCAL:
            _skip(path, skipped)
        else:
            yield RegSection(path, values=list(key.values))
        anew = anew or semantics == LAYER_SUPERSEDE_TREE
        waiting += [(below, f"{path}\\{below.name}", anew) for below in reversed(key.subkeys)]


def delta_of(sections: Iterable[RegSection], mount: str) -> HiveKey:
    r"""The delta that does what ``sections`` say to the hive that is mounted at ``mount``.

    ``mount`` is the path of the hive's root (``HKEY_LOCAL_MACHINE\SOFTWARE``); every section must be there or below,
    else UsageError. The keys have no descriptors; merge the delta onto its hive, and :func:`wclayer.regf.diff.diff`
    makes the one that can be written.
    """
    root = _Draft("ROOT", 0)
    for section in sections:
        names = section.path.split("\\")
        depth = mount.count("\\") + 1
        if fold("\\".join(names[:depth])) != fold(mount):
            raise UsageError(f"the registry key {section.path!r} is not below {mount!r}")
        if section.deleted and len(names) == depth:
            raise UsageError(f"the root key of a hive, {section.path!r}, cannot be deleted")
        root.apply(names[depth:], section)
    return root.key()


class _Draft:
    """A key of the delta that is being made."""

    def __init__(self, name: str, layer: int) -> None:
        self.name = name
        self.layer = layer
        self.values: dict[str, HiveValue] = {}
        self.below: dict[str, _Draft] = {}

    def apply(self, names: list[str], section: RegSection) -> None:
        draft = self
        for number, name in enumerate(names, 1):
            known = draft.below.get(fold(name))
            if section.deleted and number == len(names):
                if draft.layer == LAYER_SUPERSEDE_TREE:
                    draft.below.pop(fold(name), None)
                else:
                    draft.below[fold(name)] = _Draft(name, LAYER_TOMBSTONE)
                return
            if known is None or known.layer == LAYER_TOMBSTONE:
                anew = known is not None or draft.layer == LAYER_SUPERSEDE_TREE
                known = _Draft(name, LAYER_SUPERSEDE_TREE if anew else LAYER_INHERIT_CLASS)
                draft.below[fold(name)] = known
            draft = known
        for value in section.values:
            if value.tombstone and draft.layer == LAYER_SUPERSEDE_TREE:
                draft.values.pop(fold(value.name), None)
            else:
                draft.values[fold(value.name)] = value

    def key(self) -> HiveKey:
        top = HiveKey(self.name, tuple(self.values.values()), (), self.layer)
        waiting = [(self, top)]
        while waiting:
            draft, key = waiting.pop()
            below = [
                (inner, HiveKey(inner.name, tuple(inner.values.values()), (), inner.layer))
                for inner in draft.below.values()
            ]
            key.subkeys = tuple(subkey for _, subkey in below)
            waiting += below
        return top


class _Parser:
    """Reads the text from front to back; ``at`` is where it is."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.ansi = False

    def sections(self) -> list[RegSection]:
        self.header()
        sections: list[RegSection] = []
        while True:
            self.at = self.skip(_BETWEEN)
            mark = self.text[self.at : self.at + 1]
            if not mark:
                return sections
            if mark == ";":
                self.at = self.line_end()
            elif mark == "[":
                sections.append(self.section())
            elif mark in '@"' and sections and not sections[-1].deleted:
                sections[-1].values.append(self.value())
            else:
                raise self.bad("is neither a key nor a value of one")

    def header(self) -> None:
        self.at = self.skip(_BETWEEN)
        end = self.line_end()
        header = self.text[self.at : end].strip()
        if header not in (_HEADER, _OLD_HEADER):
            raise self.bad(f"should be {_HEADER!r}")
        self.ansi = header == _OLD_HEADER
        self.at = end

    def section(self) -> RegSection:
        line = self.text[self.at : self.line_end()]
        close = line.rfind("]")
        if close < 0:
            raise self.bad("has no closing bracket")
        deleted = line[1:2] == "-"
        path = line[2 if deleted else 1 : close]
        if not path or "" in path.split("\\"):
            raise self.bad(f"names no key: {path!r}")
        self.at += close + 1
        self.end_of_line()
        return RegSection(path, deleted)

    def value(self) -> HiveValue:
        if self.text[self.at] == "@":
            name = ""
            self.at += 1
        else:
            name = self.quoted()
        self.at = self.skip(_BLANK)
        if self.text[self.at : self.at + 1] != "=":
            raise self.bad("has no = behind the name of the value")
        self.at += 1
        self.at = self.skip(_BLANK)
        value = self.data(name)
        self.end_of_line()
        return value

    def data(self, name: str) -> HiveValue:
        mark = self.text[self.at : self.at + 1]
        if mark == '"':
            return HiveValue.sz(name, self.quoted())
        if mark == "-":
            self.at += 1
            return HiveValue.deleted(name)
        number = _DWORD.match(self.text, self.at)
        if number:
            self.at = number.end()
            return HiveValue.dword(name, int(number[1], 16))
        binary = _HEX.match(self.text, self.at)
        if not binary:
            raise self.bad(f"gives the value {name!r} no data that is known")
        type_ = int(binary[1], 16) if binary[1] else REG_BINARY
        self.at = binary.end()
        data = self.bytes()
        if self.ansi and type_ in _ANSI_TYPES:
            data = to_utf16le(_western(data))
        return HiveValue(name, type_, data)

    def bytes(self) -> bytes:
        """Hexadecimal bytes with commas between them; a backslash at its end continues the line."""
        digits: list[str] = []
        while True:
            end = self.line_end()
            line = self.text[self.at : end].partition(";")[0].strip()
            more = line.endswith("\\")
            digits += [part.strip() for part in line.removesuffix("\\").split(",")]
            if not more or end >= len(self.text):
                break
            self.at = end
        found = [digit for digit in digits if digit]
        try:
            data = bytes(int(digit, 16) for digit in found if len(digit) <= 2 and digit.isascii() and digit.isalnum())
        except ValueError:
            data = b""
        if len(data) != len(found):
            raise self.bad("holds something that is no hexadecimal byte")
        self.at = end
        return data

    def quoted(self) -> str:
        found = _QUOTED.match(self.text, self.at)
        if not found:
            raise self.bad("has no closing quotation mark")
        odd = next((escape for escape in _ESCAPE.finditer(found[1]) if escape[1] not in '\\"'), None)
        if odd:
            raise self.bad(f"holds {odd[0]!r}: a backslash is written twice in quotation marks")
        self.at = found.end()
        return _ESCAPE.sub(r"\1", found[1])

    def skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        return found.end() if found else self.at

    def line_end(self) -> int:
        """Where the next line begins."""
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end + 1

    def end_of_line(self) -> None:
        if self.at and self.text[self.at - 1] == "\n":
            return
        found = _REST.match(self.text, self.at)
        if not found:
            raise self.bad("has something behind its end")
        self.at = found.end()

    def bad(self, reason: str) -> FormatError:
        line = self.text.count("\n", 0, self.at) + 1
        return FormatError(f"line {line} of the registry text {reason}", kind="reg-text")


def _decoded(data: bytes) -> str:
    """The text of a file, by its byte order mark or, without one, by what it can be."""
    if data[:2] == b"\xff\xfe":
        if len(data) % 2:
            raise FormatError("UTF-16 registry text of an odd number of bytes", kind="reg-text")
        return data[2:].decode("utf-16-le", "surrogatepass")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _western(data)


def _western(data: bytes) -> str:
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise FormatError("registry text that is neither UTF-16, UTF-8 nor western", kind="reg-text") from error


def _value_text(value: HiveValue) -> str:
    name = f'"{_escaped(value.name)}"' if value.name else "@"
    if value.tombstone:
        return f"{name}=-"
    data, type_ = value.data, value.type
    if type_ == REG_SZ and len(data) % 2 == 0 and data[-2:] == b"\0\0":
        text = data[:-2].decode("utf-16-le", "surrogatepass")
        if not _NOT_IN_A_STRING.search(text):
            return f'{name}="{_escaped(text)}"'
    if type_ == REG_DWORD and len(data) == 4:
        return f"{name}=dword:{value.number():08x}"
    lines = [f"{name}=hex:" if type_ == REG_BINARY else f"{name}=hex({type_:x}):"]
    for number, byte in enumerate(data, 1):
        lines[-1] += f"{byte:02x}" if number == len(data) else f"{byte:02x},"
        if len(lines[-1]) > _LINE and number < len(data):
            lines[-1] += "\\"
            lines.append("  ")
    return "\r\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _skip(path: str, skipped: list[str] | None) -> None:
    if skipped is None:
        raise UnsupportedError("this cannot be said in registry text", path=path)
    skipped.append(path)
