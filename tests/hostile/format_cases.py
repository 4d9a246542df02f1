"""Hostile cases about headers, records and sizes: what no honest writer makes, and what claims more than there is."""

from __future__ import annotations

import base64

from tests.hostile.cases import Case, entry
from tests.hostile.tars import (
    CHARACTER,
    DEVICE,
    END,
    GNU,
    LINK,
    PIPE,
    archive,
    base256,
    checksummed,
    extended,
    file,
    folder,
    header,
    layer,
    member,
    octal,
    padded,
)

__all__ = ["FORMAT_CASES"]

TEN_GB = 10 * 1000**3
X = b"Files/x"


def _sparse_1_0(*numbers: int, size: int) -> bytes:
    """A sparse file in the form of PAX 1.0: the map is in the body."""
    body = padded(b"".join(b"%d\n" % number for number in numbers)) + b"d" * 10
    records = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "Files/x",
        "GNU.sparse.realsize": str(size),
    }
    return member("GNUSparseFile.0/x", data=body, records=records)


def _sparse_0_1(sparse_map: str, count: int, size: int) -> bytes:
    """A sparse file in the form of PAX 0.1: the map is a record."""
    records = {
        "GNU.sparse.size": str(size),
        "GNU.sparse.numblocks": str(count),
        "GNU.sparse.name": "Files/x",
        "GNU.sparse.map": sparse_map,
    }
    return member("GNUSparseFile.0/x", data=b"d" * 10, records=records)


def _sparse_0_0(pairs: list[tuple[int, int]], size: int) -> bytes:
    """A sparse file in the form of PAX 0.0: the map is many records."""
    records: list[tuple[str | bytes, str | bytes]] = [
        ("GNU.sparse.size", str(size)),
        ("GNU.sparse.numblocks", str(len(pairs))),
    ]
    for offset, length in pairs:
        records += [("GNU.sparse.offset", str(offset)), ("GNU.sparse.numbytes", str(length))]
    return extended(records) + header(X, size=10) + padded(b"d" * 10)


def _sparse_gnu(pairs: list[tuple[int, int]], size: int, *, more: bool = False) -> bytes:
    """A sparse file in the form of GNU tar before PAX."""
    fields = b"".join(octal(offset, 12) + octal(length, 12) for offset, length in pairs).ljust(96, b"\0")
    tail = bytes(41) + fields + (b"\1" if more else b"\0") + base256(size, 12)
    return header(X, b"S", size=10, magic=GNU, tail=tail) + padded(b"d" * 10)


_SIZES = [
    entry("size-10-gb", header(X, size=base256(TEN_GB, 12)), mentions="Files/x"),
    entry("size-10-gb-in-record", extended({"size": str(TEN_GB)}) + header(X), mentions="Files/x"),
    entry("size-8-eb", header(X, size=base256((1 << 63) - 1, 12)), mentions="Files/x"),
    entry("size-beyond-64-bits", header(X, size=base256(1 << 64, 12)), mentions="64 bits"),
    entry("size-beyond-64-bits-in-record", extended({"size": str(1 << 63)}) + header(X), mentions=str(1 << 63)),
    entry("size-negative", header(X, size=base256(-1, 12)), mentions="negative"),
    entry("size-negative-in-record", extended({"size": "-1"}) + header(X), mentions="negative"),
    entry("size-no-number", header(X, size=b"12345x78901\0"), mentions="octal"),
    entry("size-no-number-in-record", extended({"size": "ten"}) + header(X), mentions="ten"),
    entry("size-of-extended-header-negative", header(b"P", b"x", size=base256(-512, 12)), mentions="negative"),
    entry("sparse-gnu-10-gb", _sparse_gnu([(0, 10)], TEN_GB), mentions="Files/x"),
    entry("sparse-gnu-10-gb-of-data", _sparse_gnu([(0, TEN_GB)], TEN_GB), mentions="Files/x"),
    entry("sparse-gnu-8-eb", _sparse_gnu([(0, 10)], (1 << 63) - 1), mentions="Files/x"),
    entry("sparse-gnu-negative", _sparse_gnu([(0, 10)], -10), mentions="Files/x"),
    entry("sparse-gnu-overlapping", _sparse_gnu([(0, 6), (4, 4)], 100), mentions="Files/x"),
    entry("sparse-gnu-beyond-the-end", _sparse_gnu([(95, 10)], 100), mentions="Files/x"),
    entry("sparse-gnu-map-that-never-ends", _sparse_gnu([(0, 10)], 100, more=True) + b"\1" * 4096, mentions="sparse"),
    entry("sparse-gnu-in-another-dialect", header(X, b"S", size=10) + padded(b"d" * 10), mentions="sparse"),
    entry("sparse-0.0-10-gb", _sparse_0_0([(0, 10)], TEN_GB), mentions="Files/x"),
    entry("sparse-0.0-out-of-order", _sparse_0_0([(50, 5), (0, 5)], 100), mentions="Files/x"),
    entry("sparse-0.1-10-gb", _sparse_0_1("0,10", 1, TEN_GB), mentions="Files/x"),
    entry("sparse-0.1-10-gb-of-data", _sparse_0_1(f"0,{TEN_GB}", 1, TEN_GB), mentions="Files/x"),
    entry("sparse-0.1-of-a-billion-pieces", _sparse_0_1("0,10", 10**9, 100), mentions="sparse"),
    entry("sparse-0.1-of-fewer-pieces-than-said", _sparse_0_1("0,10", 2, 100), mentions="sparse"),
    entry("sparse-1.0-10-gb", _sparse_1_0(1, 0, 10, size=TEN_GB), mentions="Files/x"),
    entry("sparse-1.0-10-gb-of-data", _sparse_1_0(1, 0, TEN_GB, size=TEN_GB), mentions="Files/x"),
    entry("sparse-1.0-of-a-billion-pieces", _sparse_1_0(10**9, 0, 10, size=100), mentions="sparse"),
    entry("sparse-1.0-of-negative-pieces", _sparse_1_0(-1, 0, 10, size=100), mentions="sparse"),
    entry(
        "sparse-1.0-with-dots",
        member(
            "y",
            data=b"0\n" + bytes(510),
            records={
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": "../evil/x",
                "GNU.sparse.realsize": "0",
            },
        ),
        mentions="../evil/x",
    ),
    entry(
        "sparse-link",
        extended({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}) + header(X, LINK, linkname=b"Files"),
        mentions="sparse",
    ),
]

_DAMAGED = bytearray(header(X))
_DAMAGED[0] ^= 1

_HEADERS = [
    entry("checksum-wrong", bytes(_DAMAGED), mentions="checksum"),
    entry("checksum-no-number", header(X)[:148] + b"99999999" + header(X)[156:], mentions="Files/good.txt"),
    entry("garbage-between", b"\xde\xad\xbe\xef" * 128, file("Files/x"), mentions="Files/good.txt"),
    entry("garbage-text-between", b"hello world! " * 39 + b"hello", file("Files/x"), mentions="Files/good.txt"),
    entry("half-an-end-mark-and-more", bytes(512), file("Files/x"), mentions="end mark"),
    entry("mode-no-number", header(X, mode=b"0x0644a\0"), mentions="octal"),
    entry("device-numbers-garbage", checksummed(header(X)[:329] + b"zzzzzzzz" + header(X)[337:]), mentions="octal"),
    entry("character-device", member("Files/x", CHARACTER), mentions="Files/x"),
    entry("block-device", member("Files/x", DEVICE), mentions="Files/x"),
    entry("pipe", member("Files/x", PIPE), mentions="Files/x"),
    entry("device-in-dots", member("../evil/x", CHARACTER), mentions="../evil/x"),
    entry(
        "long-name-of-a-gigabyte", header(b"././@LongLink", b"L", size=1 << 30, magic=GNU), mentions="extended header"
    ),
    entry(
        "long-name-with-dots",
        header(b"././@LongLink", b"L", size=12, magic=GNU) + padded(b"../../evil/x") + header(b"x"),
        mentions="../../evil/x",
    ),
    entry(
        "long-link-with-dots",
        header(b"././@LongLink", b"K", size=12, magic=GNU) + padded(b"../../evil/x") + header(b"Files/l", LINK),
        mentions="../../evil/x",
    ),
]

_RECORDS = [
    Case("records-over-a-megabyte", lambda: layer(file("Files/x", SCHILY_comment=b"c" * (1 << 20))), ("1048576",)),
    Case("records-tiny-by-the-million", lambda: layer(extended(b"5 a=\n" * 1_000_000) + header(X)), ("1048576",)),
    entry("records-of-a-terabyte", header(b"P", b"x", size=base256(1 << 40, 12)), mentions="1048576"),
    entry("records-global-over-a-megabyte", header(b"P", b"g", size=(1 << 20) + 1), mentions="1048576"),
    entry("record-longer-than-the-header", extended(b"99 path=Files/y\n") + header(X), mentions="PAX"),
    entry("record-shorter-than-it-is", extended(b"9 path=Files/y\n") + header(X), mentions="PAX"),
    entry("record-without-length", extended(b"path=Files/y\n") + header(X), mentions="PAX"),
    entry("record-of-negative-length", extended(b"-17 path=Files/y\n") + header(X), mentions="PAX"),
    entry("record-of-endless-length", extended(b"9" * 4000 + b" path=x\n") + header(X), mentions="PAX"),
    entry("record-of-zero-length", extended(b"0 path=Files/y\n") + header(X), mentions="PAX"),
    entry("record-without-key", extended(b"7 =xyz\n\n") + header(X), mentions="PAX"),
    entry("record-without-value", extended(b"12 pathFile\n") + header(X), mentions="PAX"),
    entry("record-without-line-end", extended(b"16 path=Files/yy") + header(X), mentions="PAX"),
    entry("descriptor-no-base64", file("Files/x", MSWINDOWS_rawsd="!!!!"), mentions="Files/x"),
    entry("descriptor-base64-cut", file("Files/x", MSWINDOWS_rawsd="AQA"), mentions="Files/x"),
    entry("descriptor-sddl-garbage", file("Files/x", MSWINDOWS_sd="O:BAG:BAD:(A;;evil"), mentions="Files/x"),
    entry("attribute-no-base64", member("Files/x", records={"MSWINDOWS.xattr.EA": "***"}), mentions="Files/x"),
    entry(
        "attribute-name-too-long",
        member("Files/x", records={"MSWINDOWS.xattr." + "E" * 256: "AAAA"}),
        mentions="Files/x",
    ),
    entry(
        "attribute-value-too-long",
        member("Files/x", records={"MSWINDOWS.xattr.EA": base64.b64encode(bytes(65536))}),
        mentions="Files/x",
    ),
    *(
        entry(
            f"attributes-{title}", member("Files/x", records={"MSWINDOWS.fileattr": text}), mentions=("Files/x", text)
        )
        for title, text in (
            ("beyond-32-bits", "4294967296"),
            ("negative", "-1"),
            ("hexadecimal", "0x20"),
            ("text", "hidden"),
            ("fraction", "32.5"),
            ("enormous", "9" * 30),
        )
    ),
    *(
        entry(
            f"time-{key.partition('.')[2] or key}-{title}", member("Files/x", records={key: text}), mentions=text[:20]
        )
        for key in ("mtime", "atime", "ctime", "LIBARCHIVE.creationtime")
        for title, text in (
            ("text", "yesterday"),
            ("enormous", "9" * 40),
            ("two-dots", "1.2.3"),
            ("negative-fraction", "1.-5"),
        )
    ),
    entry(
        "junction-target-enormous",
        member(
            "Files/x", b"2", linkname="a" * 33_000, records={"MSWINDOWS.fileattr": "1040", "MSWINDOWS.mountpoint": "1"}
        ),
        mentions="Files/x",
    ),
]

_ARCHIVES = [
    Case("no-archive-text", lambda: b"this is no archive at all\n" * 100, ("layer",)),
    Case("no-archive-short", lambda: b"Files", ("layer",)),
    Case(
        "truncated-inside-the-data", lambda: archive(folder("Files"), file("Files/x", b"d" * 5000))[:3000], ("Files/x",)
    ),
    Case("truncated-inside-a-header", lambda: archive(folder("Files"), file("Files/x"))[:700], ("header",)),
    Case(
        "truncated-inside-records",
        lambda: archive(folder("Files"), file("Files/x", comment=b"c" * 900))[:1200],
        ("header",),
    ),
    Case("end-mark-cut", lambda: archive(folder("Files"))[: -len(END) + 700], ("end mark",)),
]

FORMAT_CASES = [*_SIZES, *_HEADERS, *_RECORDS, *_ARCHIVES]
