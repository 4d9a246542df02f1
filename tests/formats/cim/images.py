"""CIM images made by a throwaway builder, so that what reads them does not lean on what writes them.

It knows the format from its description only, uses nothing of the package, and can do what no honest writer does: put
a file under two folders, leave a table unsorted, lie about a length. Objects are laid down in the order in which they
are met, metadata in region 0, small data in region 1 or data at whole pages in region 1.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

GUID = uuid.UUID("00112233-4455-4677-8899-aabbccddeeff")
NULL_DACL = bytes.fromhex("01000480") + bytes(16)
OWNED = bytes.fromhex("01000480 14000000 20000000 00000000 00000000 010100000000000512000000 010100000000000512000000")

METADATA, DATA, SMALL = 0, 1, 2

# Characters that have got capitals since Unicode 5.1.
_LATER = (
    "019B 023F-0240 0252 025C 0261 0264-0266 026A 026C 0282 0287 029D-029E 03F3 0525-052F 10D0-10FF 13F8-13FD "
    "1C80-1C8F 1D8E 2C5F 2CEC-2CEE 2CF3 2D27-2D2D A661 A699-A69B A78D-A7FF AB53-ABBF"
)


def _simple(code: int, *, upper: bool) -> int:
    text = chr(code).upper() if upper else chr(code).lower()
    if len(text) == 1:
        return ord(text)
    if upper and (code in range(0x1F80, 0x1F88) or code in range(0x1F90, 0x1F98) or code in range(0x1FA0, 0x1FA8)):
        return code + 8
    if upper:
        return {0x1FB3: 0x1FBC, 0x1FC3: 0x1FCC, 0x1FF3: 0x1FFC}.get(code, code)
    return code


@cache
def upcase_table() -> bytes:
    """The table of NTFS, made from the Unicode data of Python and the list of what is newer than the table."""
    later: set[int] = set()
    for part in _LATER.split():
        first, _, last = part.partition("-")
        later.update(range(int(first, 16), int(last or first, 16) + 1))
    units = list(range(0x10000))
    for code in units[:]:
        if 0xD800 <= code <= 0xDFFF or code in later:
            continue
        upper = _simple(code, upper=True)
        if upper <= 0xFFFF and _simple(upper, upper=False) == code:
            units[code] = upper
    return struct.pack("<65536H", *units)


@cache
def _upcase_units() -> tuple[int, ...]:
    return struct.unpack("<65536H", upcase_table())


def name_key(name: str) -> tuple[int, ...]:
    """What names are sorted by: UTF-16 units through the table."""
    data = name.encode("utf-16-le", "surrogatepass")
    return tuple(_upcase_units()[unit] for (unit,) in struct.iter_unpack("<H", data))


def pointer(region: int, position: int) -> int:
    return region << 48 | position


@dataclass
class Stream:
    """Data of a stream. With ``mappings`` it is stored as a PE image: ``expanded`` lies in the region."""

    data: bytes = b""
    sparse_size: int | None = None
    mappings: tuple[tuple[int, int], ...] | None = None
    expanded: bytes = b""
    size_bits: int = 0


@dataclass
class Node:
    """A file, or a folder when ``children`` is no None. The same object under two names is a hard link."""

    stream: Stream = field(default_factory=Stream)
    children: dict[str, Node] | None = None
    flags: int = 0
    times: tuple[int, int, int, int] = (0, 0, 0, 0)  # creation, write, change, access
    sd: bytes | None = NULL_DACL
    ea: bytes = b""
    reparse: bytes | None = None
    tag: int = 0
    streams: dict[str, Stream] = field(default_factory=dict)
    counted: bool = False
    base_region: int = 0
    tail: bytes = b""
    parent_id: int | None = None
    file_id: int = 0


def file(data: bytes = b"", **more: object) -> Node:
    return Node(Stream(data), **more)  # type: ignore[arg-type]


def folder(children: dict[str, Node] | None = None, **more: object) -> Node:
    return Node(children=children or {}, **more)  # type: ignore[arg-type]


class Builder:
    """Builds one image; ``objects`` says afterwards where things lie, by name."""

    def __init__(
        self,
        *,
        major: int = 3,
        entry_size: int = 96,
        guid: uuid.UUID = GUID,
        data_kind: int = SMALL,
        parents: tuple[tuple[uuid.UUID, int], ...] = (),
        region_order: bool = True,
    ) -> None:
        self.major = major
        self.entry_size = entry_size
        self.guid = guid
        self.parents = parents
        self.inherited = sum(count for _, count in parents)
        self.kinds = [METADATA, data_kind] if region_order else [data_kind, METADATA]
        self.metadata = self.kinds.index(METADATA)
        self.regions = [bytearray(40), bytearray(40)]
        self.nodes: list[Node] = []
        self.objects: dict[str, int] = {}
        self._shared: dict[bytes, int] = {}

    # --- laying down ---

    def put(self, data: bytes, *, where: int | None = None) -> int:
        """Where ``data`` lies, as a pointer."""
        number = self.metadata if where is None else where
        region = self.regions[number]
        step = 4096 if self.kinds[number] == DATA else 8
        region += bytes(-len(region) % step)
        position = len(region)
        region += data
        return pointer(self.inherited + number, position)

    def put_data(self, data: bytes) -> int:
        return self.put(data, where=1 - self.metadata)

    def put_counted(self, data: bytes) -> int:
        if data not in self._shared:
            self._shared[data] = self.put(struct.pack("<H", len(data)) + data)
        return self._shared[data]

    def link_table(self, links: list[tuple[str, bytes]]) -> bytes:
        names = bytearray()
        offsets = []
        start = 8 + sum(len(value) + 4 for _, value in links)
        for name, _ in links:
            offsets.append(start + len(names))
            units = name.encode("utf-16-le", "surrogatepass")
            names += struct.pack("<H", len(units) // 2) + units
        head = struct.pack("<II", start + len(names), len(links))
        return b"".join([head, *(value for _, value in links), struct.pack(f"<{len(links)}I", *offsets), names])

    def stream_record(self, stream: Stream) -> bytes:
        if stream.sparse_size is not None:
            return struct.pack("<QQ", 0, stream.sparse_size | 1 << 56)
        if stream.mappings is not None:
            place = self.put_data(stream.expanded)
            head = struct.pack("<QQIHH", place, len(stream.data), len(stream.expanded), len(stream.mappings), 1)
            image = self.put(head + b"".join(struct.pack("<II", *mapping) for mapping in stream.mappings))
            return struct.pack("<QQ", image, len(stream.data) | 2 << 48)
        return struct.pack("<QQ", self.put_data(stream.data) if stream.data else 0, len(stream.data) | stream.size_bits)

    # --- the parts ---

    def number(self, root: Node) -> None:
        """Give ids, depth first; a node met again keeps its id."""
        waiting = [(root, 0)]
        while waiting:
            node, parent = waiting.pop()
            if node.file_id:
                continue
            self.nodes.append(node)
            node.file_id = len(self.nodes)
            if node.parent_id is None:
                node.parent_id = parent
            if node.children is not None:
                waiting += [(child, node.file_id) for _, child in reversed(self.ordered(node.children))]

    def ordered(self, children: dict[str, Node]) -> list[tuple[str, Node]]:
        return sorted(children.items(), key=lambda item: name_key(item[0]))

    def record(self, node: Node) -> bytes:
        if node.children is not None:
            table = self.link_table([(n, struct.pack("<I", c.file_id)) for n, c in self.ordered(node.children)])
            if node.children:
                place = self.put(table)
                self.objects[f"table {node.file_id}"] = place
                default = struct.pack("<QQ", place, len(table) | 1 << 48)
            else:
                default = struct.pack("<QQ", 0, 1 << 48)
        else:
            default = self.stream_record(node.stream)
        streams = 0
        if node.streams:
            ordered = sorted(node.streams.items(), key=lambda item: name_key(item[0]))
            table = self.link_table([(name, self.stream_record(stream)) for name, stream in ordered])
            streams = self.put(struct.pack("<I", len(table)) + table if node.counted else table)
            self.objects[f"streams {node.file_id}"] = streams
        head = struct.pack("<HHI4Q", node.flags, len(node.ea), node.tag, *node.times)
        pointers = struct.pack(
            "<4Q",
            0 if node.sd is None else self.put_counted(node.sd),
            self.put(node.ea) if node.ea else 0,
            0 if node.reparse is None else self.put_counted(node.reparse),
            streams,
        )
        record = head + default + pointers
        if self.entry_size > 88:
            record += struct.pack("<IHH", node.parent_id or 0, node.base_region, 0) + node.tail
        return record[: self.entry_size].ljust(self.entry_size, b"\0")

    def header(self, kind: int, length: int) -> bytes:
        return struct.pack("<8sIBBHIIQ", b"cimfile0", length, kind, 0, 0, self.major, 0, 0)

    def build(self, directory: Path, root: Node, name: str = "v.cim") -> Path:
        """Write all files of the image."""
        self.put_counted(NULL_DACL)
        self.number(root)
        records = [self.record(node) for node in self.nodes]
        tables = []
        for first in range(0, len(records), 1024):
            part = records[first : first + 1024]
            place = self.put(b"".join(part))
            self.objects[f"file table {first // 1024}"] = place
            tables.append(struct.pack("<QHHI", place, len(part), self.entry_size, 0))
        upcase = self.put(upcase_table())
        table_directory = self.put(b"".join(tables))
        filesystem = self.put(struct.pack("<QQII", upcase, table_directory, len(tables), root.file_id))
        self.objects |= {"upcase": upcase, "tables": table_directory, "filesystem": filesystem}
        return self.write(directory, filesystem, name)

    def write(self, directory: Path, filesystem: int, name: str) -> Path:
        for number, (region, kind) in enumerate(zip(self.regions, self.kinds, strict=True)):
            region[:40] = self.header(1, 40) + struct.pack("<HBBI", number, kind, 0, 0)
            region += bytes(-len(region) % 4096)
            (directory / f"region_{self.guid}_{number}").write_bytes(region)
            table = struct.pack("<HBBIII", number, kind, 0, 0, 48, 0)
            (directory / f"objectid_{self.guid}_{number}").write_bytes(self.header(2, 48) + table)
        own = struct.pack("<16sHHI", self.guid.bytes_le, len(self.regions), 0, 0)
        parents = b"".join(struct.pack("<16sHHI", guid.bytes_le, count, 0, 0) for guid, count in self.parents)
        end = struct.pack("<QIHH", filesystem, 0, 0, len(self.parents))
        path = directory / name
        path.write_bytes(self.header(0, 72) + own + end + parents)
        return path


def build(directory: Path, root: Node, **options: object) -> Path:
    """An image of ``root`` in ``directory``."""
    return Builder(**options).build(directory, root)  # type: ignore[arg-type]


def reparse_buffer(target: str = "..\\x") -> tuple[int, bytes]:
    """Tag and buffer of a symbolic link."""
    text = target.encode("utf-16-le")
    body = struct.pack("<HHHHI", 0, len(text), len(text), len(text), 1) + text + text
    return 0xA000000C, struct.pack("<IHH", 0xA000000C, len(body), 0) + body


def ea_list(*pairs: tuple[bytes, bytes]) -> bytes:
    """A FILE_FULL_EA_INFORMATION list."""
    entries = []
    for name, value in pairs:
        entry = struct.pack("<IBBH", 0, 0, len(name), len(value)) + name + b"\0" + value
        entries.append(entry + bytes(-len(entry) % 4))
    return b"".join(
        struct.pack("<I", len(entry) if number + 1 < len(entries) else 0) + entry[4:]
        for number, entry in enumerate(entries)
    )


def rich(more: int = 0) -> Node:
    """A tree with everything an image can hold."""
    tag, link = reparse_buffer()
    shared = file(b"two names" * 100, flags=0x09, times=(1, 2, 3, 4))
    expanded = b"H" * 512 + bytes(3584) + b"T" * 1024
    pe = Stream(b"H" * 512 + b"T" * 1024, mappings=((0, 0), (512, 3584)), expanded=expanded)
    children: dict[str, Node] = {
        "a.txt": file(b"hello", times=(132000000000000001, 132000000000000002, 132000000000000003, 4)),
        "Empty": file(),
        "Dir": folder({"inner": file(b"i" * 5000), "SECOND": shared, "none": folder()}),
        "first": shared,
        "Link": file(reparse=link, tag=tag, sd=NULL_DACL),
        "Junction": folder(reparse=link, tag=tag),
        "with ea": file(b"x", ea=ea_list((b"ONE", b"1"), (b"TWO", b"22"))),
        "sparse": Node(Stream(sparse_size=1 << 40), flags=0x10),
        "app.exe": Node(pe, flags=0x08),
        "streams": file(
            b"main", streams={"Zone.Identifier": Stream(b"[ZoneTransfer]"), "b": Stream(b""), "A": Stream(b"alt")}
        ),
        "counted": folder({"deep": folder({"er": file(b"er")})}, streams={"s": Stream(b"dir stream")}, counted=True),
        "sd": file(b"y", sd=OWNED),
        "Ж\ud800\U00010400": file(b"odd name"),
        "\U0001f600": file(),
        "\uff21": file(),
        "_x": file(b"1"),
        "[q": file(b"2"),
        "Z": file(b"3"),
    }
    children |= {f"file {number:05}": file(b"%d" % number) for number in range(more)}
    return folder(children, flags=0x04, times=(5, 6, 7, 8))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
