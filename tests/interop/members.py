"""A tar as hcsshim writes it, taken apart member by member, without our reader: to compare two of them in parts."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["TIMES", "Member", "members"]

TIMES = ("LIBARCHIVE.creationtime", "atime", "ctime", "mtime")
"""The records of the four times; the write time may be in the header alone."""

_BLOCK = 512
_OWN_FIELDS = ((0, 100), (124, 136), (136, 148), (148, 156), (157, 257), (345, 500))  # name … prefix: told apart below


@dataclass
class Member:
    """One member: all its bytes, and the same in parts. ``rest`` is the header without what the parts say."""

    raw: bytes
    name: str
    kind: str
    target: str
    records: dict[str, bytes]
    body: bytes
    rest: bytes = field(repr=False)

    @property
    def owner(self) -> str:
        """The file that the member describes: of an alternate stream, the file that has it."""
        return self.name.partition(":")[0].rstrip("/")

    @property
    def parts(self) -> tuple[object, ...]:
        """Everything that is compared."""
        return (self.name, self.kind, self.target, sorted(self.records.items()), self.body, self.rest)


def members(tar: bytes) -> list[Member]:
    """The members of a tar that ends as it must; anything else fails."""
    found = []
    start = at = 0
    extended: dict[str, bytes] = {}
    while tar[at : at + _BLOCK] != bytes(_BLOCK):
        header = tar[at : at + _BLOCK]
        kind = chr(header[156])
        size = int(header[124:136].rstrip(b"\0 ") or b"0", 8)
        if kind in "125":
            size = 0
        elif kind != "x" and b"size" in (key.encode() for key in extended):
            size = int(extended["size"])
        body = tar[at + _BLOCK : at + _BLOCK + size]
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
        if kind == "x":
            extended = _records(body)
            continue
        found.append(_member(tar[start:at], header, kind, extended, body))
        start, extended = at, {}
    assert tar[at:] == bytes(2 * _BLOCK)
    return found


def _member(raw: bytes, header: bytes, kind: str, extended: dict[str, bytes], body: bytes) -> Member:
    prefix, leaf = _text(header[345:500]), _text(header[:100])
    name = extended.pop("path", (prefix + b"/" + leaf) if prefix else leaf)
    target = extended.pop("linkpath", _text(header[157:257]))
    extended.setdefault("mtime", b"%d" % int(header[136:148].rstrip(b"\0 "), 8))
    rest = bytearray(header)
    for start, end in _OWN_FIELDS:
        rest[start:end] = bytes(end - start)
    decoded = [text.decode("utf-8", "surrogatepass") for text in (name, target)]
    return Member(raw, decoded[0], kind, decoded[1], extended, body, bytes(rest))


def _records(data: bytes) -> dict[str, bytes]:
    found = {}
    while data:
        length, _, _ = data.partition(b" ")
        record, data = data[len(length) + 1 : int(length) - 1], data[int(length) :]
        key, _, value = record.partition(b"=")
        found[key.decode("latin-1")] = value  # names of extended attributes are bytes
    return found


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
