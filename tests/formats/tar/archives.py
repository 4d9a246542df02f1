"""Archives to start from: what other programs write, and ways to damage it."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["BLOCK", "by_bsdtar", "by_gnu_tar", "by_python", "header_offsets", "mutate", "records", "with_checksum"]

BLOCK = 512


def with_checksum(block: bytes) -> bytes:
    """A header block with the checksum it should have."""
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    return block[:148] + b"%06o\0 " % total + block[156:]


def records(*pairs: tuple[bytes, bytes]) -> bytes:
    """PAX records, put together without the code under test."""
    out = b""
    for key, value in pairs:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while len(b"%d" % length + rest) != length:
            length += 1
        out += b"%d" % length + rest
    return out


def _tree(folder: Path) -> Path:
    """A small tree with long names, links, an empty file and a sparse one."""
    tree = folder / "tree"
    long = tree / ("d" * 60) / ("e" * 70)
    long.mkdir(parents=True)
    (tree / "empty").touch()
    (tree / "a.txt").write_bytes(b"hello")
    (tree / "block").write_bytes(b"x" * 512)
    (long / ("f" * 80)).write_bytes(b"long")
    (tree / "ä日").write_bytes(b"unicode")
    (tree / "link").symlink_to("t" * 150)
    os.link(tree / "a.txt", tree / "hard")
    with (tree / "sparse").open("wb") as file:
        for offset in range(0, 10 << 16, 1 << 16):
            file.seek(offset)
            file.write(b"data" * 1024)
        file.truncate(11 << 16)
    for path in sorted(tree.rglob("*")):
        if not path.is_symlink():
            os.utime(path, ns=(1_577_836_812_345_678_900, -1_500_000_000))
    return tree


def by_gnu_tar(program: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Archives in every format and sparse version of GNU tar."""
    tree = _tree(folder)
    for kind in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        for sparse in ("", "0.0", "0.1", "1.0"):
            if sparse and kind not in ("posix", "gnu", "oldgnu"):
                continue
            options = ["--sparse", f"--sparse-version={sparse}"] if sparse else []
            output = subprocess.run(
                [program, "-cf", "-", "-H", kind, *options, "--numeric-owner", "-C", str(tree), "."],
                capture_output=True,
                check=False,
            ).stdout
            yield f"gnu-tar-{kind}-{sparse}", output


def by_bsdtar(program: str, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Archives in the tar formats of bsdtar."""
    tree = _tree(folder)
    for kind in ("ustar", "pax", "gnutar", "v7tar", "oldtar"):
        output = subprocess.run(
            [program, "-cf", "-", f"--format={kind}", "-C", str(tree), "."], capture_output=True, check=False
        ).stdout
        if output:
            yield f"bsdtar-{kind}", output


def by_python() -> Iterator[tuple[str, bytes]]:
    """Archives in the formats of Python's tarfile, with global headers and devices."""
    for name, kind in (("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind, pax_headers={"comment": "none"}) as archive:
            for info in _members():
                try:
                    archive.addfile(info, io.BytesIO(b"d" * info.size))
                except ValueError:
                    continue
        yield f"python-{name}", out.getvalue()


def _members() -> Iterator[tarfile.TarInfo]:
    for name, kind, size in (
        ("a", tarfile.REGTYPE, 5),
        ("folder", tarfile.DIRTYPE, 0),
        ("p" * 90 + "/" + "n" * 90, tarfile.REGTYPE, 600),
        ("fifo", tarfile.FIFOTYPE, 0),
        ("device", tarfile.CHRTYPE, 0),
        ("link", tarfile.SYMTYPE, 0),
        ("old/", tarfile.AREGTYPE, 0),
        ("contiguous", tarfile.CONTTYPE, 3),
    ):
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, size
        info.mtime = 1_577_836_812
        info.uname, info.gname = "user", "gruppe"
        info.linkname = "l" * 120 if kind == tarfile.SYMTYPE else ""
        info.devmajor = 7
        yield info


def header_offsets(archive: bytes) -> list[int]:
    """Where the blocks are that have a valid checksum."""
    found = []
    for offset in range(0, len(archive) - BLOCK + 1, BLOCK):
        block = archive[offset : offset + BLOCK]
        if any(block) and with_checksum(block)[148:154] == block[148:154]:
            found.append(offset)
    return found


NUMBERS = (
    b"",
    b"0",
    b" 7 ",
    b"\0\0001",
    b"12 \0",
    b"8",
    b"1_0",
    b"0o7",
    b"-1",
    b"+1",
    b"7777777",
    b"\x80\0\0\0\0\0\0\x09",
    b"\x80" + b"\0" * 9 + b"\x02\0",
    b"\xff" * 12,
    b"\xff" * 8,
    b"\xbf" + b"\xff" * 11,
    b"\x80\0\0\0\x7f" + b"\xff" * 7,
    b"\xff\xff\xff\xff\x80" + b"\0" * 7,
    b"\xff\xff\xff\xff\xff\xf1\x88\x6e\x09\x00\x00\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xf1\x88\x6e\x09\x00",
)
FIELDS = (
    (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (329, 8), (337, 8), (345, 12), (357, 12), (386, 12), (398, 12),
    (476, 12), (483, 12), (488, 12),
)  # fmt: skip
TEXTS = (b"", b"name", b"dir/", b"a" * 100, b"\xff\xfe", "ö".encode(), b"/", b".wh.x", b"x:y")
PAX = (
    (b"path", b"new name"), (b"path", b""), (b"path", b"nul\0"), (b"linkpath", b"target"), (b"size", b"3"),
    (b"size", b"-1"), (b"size", b"+7"), (b"size", b"1024"), (b"size", b""), (b"uid", b"77"), (b"gid", b"x"),
    (b"uname", b"\xff"), (b"gname", b"g"), (b"mtime", b"1.5"), (b"mtime", b"-0.5"), (b"mtime", b".5"),
    (b"mtime", b"1."), (b"mtime", b"-62135596800"), (b"mtime", b"1.2.3"), (b"atime", b"9223372036854775807.999999999"),
    (b"ctime", b"-9223372036854775808.1"), (b"ctime", b"+0007.1234567891"), (b"atime", b"1e3"), (b"atime", b" 1"),
    (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.major", b"0"),
    (b"GNU.sparse.minor", b"1"), (b"GNU.sparse.minor", b"2"), (b"GNU.sparse.name", b"sparse name"),
    (b"GNU.sparse.size", b"2000"), (b"GNU.sparse.realsize", b"3000"), (b"GNU.sparse.size", b"-5"),
    (b"GNU.sparse.numblocks", b"1"), (b"GNU.sparse.numblocks", b"0"), (b"GNU.sparse.map", b"0,5"),
    (b"GNU.sparse.map", b""), (b"GNU.sparse.map", b"1,2,3,4"), (b"GNU.sparse.offset", b"0"),
    (b"GNU.sparse.numbytes", b"5"), (b"GNU.sparse.offset", b"1,2"), (b"key=", b"v"), (b"k\0", b"v"), (b"", b"v"),
    (b"comment", b"a\nb"), (b"comment", b"nul\0"), (b"MSWINDOWS.fileattr", b"16"), (b"SCHILY.xattr.user.a", b"b"),
)  # fmt: skip


def mutate(archive: bytes, random_: random.Random) -> bytes:
    """``archive`` with one to three things wrong, checksums mostly right."""
    for _ in range(random_.choice((1, 1, 1, 2, 3))):
        archive = random_.choice(_MUTATIONS)(archive, random_)
    return archive


def _header(archive: bytes, random_: random.Random) -> int:
    return random_.choice(header_offsets(archive) or [0])


def _replace(archive: bytes, at: int, data: bytes) -> bytes:
    archive = archive[:at] + data + archive[at + len(data) :]
    block = at - at % BLOCK
    return (
        archive[:block] + with_checksum(archive[block : block + BLOCK].ljust(BLOCK, b"\0")) + archive[block + BLOCK :]
    )


def _number(archive: bytes, random_: random.Random) -> bytes:
    at, length = random_.choice(FIELDS)
    value = random_.choice(NUMBERS)[:length]
    fill = random_.choice((b"\0", b" "))
    value = random_.choice(
        (value.ljust(length, fill), value.rjust(length, fill), value.rjust(length - 1, b"0") + b"\0")
    )
    return _replace(archive, _header(archive, random_) + at, value)


def _text(archive: bytes, random_: random.Random) -> bytes:
    at, length = random_.choice(((0, 100), (157, 100), (265, 32), (297, 32), (345, 155), (257, 8), (508, 4)))
    texts = (b"ustar\x0000", b"ustar  \0", b"ustar\0xx", bytes(8), b"tar\0") if at in (257, 508) else TEXTS
    return _replace(archive, _header(archive, random_) + at, random_.choice(texts)[:length].ljust(length, b"\0"))


def _type(archive: bytes, random_: random.Random) -> bytes:
    return _replace(
        archive,
        _header(archive, random_) + 156,
        bytes([random_.choice(b"\x0001234567gxLKSDVNMAz\xe9")]),
    )


def _byte(archive: bytes, random_: random.Random) -> bytes:
    at = _header(archive, random_) + random_.randrange(BLOCK)
    return _replace(archive, at, bytes([random_.randrange(256)]))


def _any_byte(archive: bytes, random_: random.Random) -> bytes:
    at = random_.randrange(len(archive)) if archive else 0
    return archive[:at] + bytes([random_.randrange(256)]) + archive[at + 1 :]


def _checksum(archive: bytes, random_: random.Random) -> bytes:
    at = _header(archive, random_)
    block = archive[at : at + BLOCK].ljust(BLOCK, b"\0")
    signed = sum(b - 256 if b > 127 else b for b in block[:148] + block[156:]) + 256
    field = random_.choice(
        (
            b"%07o\0" % signed,
            b" %06o\0" % max(signed, 0),
            b"%o" % (signed & 0o777777),
            b"\x80" + bytes(7),
            b"-%06o\0" % abs(signed),
        )
    )
    return archive[: at + 148] + field[:8].ljust(8, random_.choice((b" ", b"\0"))) + archive[at + 156 :]


def _cut(archive: bytes, random_: random.Random) -> bytes:
    at = random_.choice(header_offsets(archive) or [0]) + random_.choice((0, 1, 511, 512, 513, 1000, 1024, 1536))
    return archive[: random_.choice((at, random_.randrange(len(archive) + 1)))]


def _zero_block(archive: bytes, random_: random.Random) -> bytes:
    at = _header(archive, random_)
    return archive[:at] + bytes(BLOCK * random_.choice((1, 1, 2))) + archive[at:]


def _remove(archive: bytes, random_: random.Random) -> bytes:
    at = _header(archive, random_)
    return archive[:at] + archive[at + BLOCK * random_.choice((1, 1, 2, 3)) :]


def _repeat(archive: bytes, random_: random.Random) -> bytes:
    at = _header(archive, random_)
    piece = archive[at : at + BLOCK * random_.choice((1, 2, 3))]
    to = _header(archive, random_)
    return archive[:to] + piece + archive[to:]


def _extension(archive: bytes, random_: random.Random) -> bytes:
    """Put an extended header, a global one, or a long name before some header."""
    at = _header(archive, random_)
    kind = random_.choice(b"xxxxxgLK")
    if kind in b"LK":
        body = random_.choice((b"long name\0", b"", b"\0", b"n" * 300, b"d/", b"\xff"))
    else:
        pairs = random_.sample(PAX, random_.choice((0, 1, 1, 2, 3, 5)))
        body = records(*pairs)
        if random_.random() < 0.3:
            body = _damaged_records(body, random_)
    block = bytearray(BLOCK)
    block[0:4] = b"ext\0"
    for start, length in ((100, 8), (108, 8), (116, 8), (136, 12)):
        block[start : start + length] = b"0" * (length - 1) + b"\0"
    block[124:136] = b"%011o\0" % len(body)
    block[156] = kind
    block[257:265] = random_.choice((b"ustar\x0000", b"ustar  \0", bytes(8)))
    padded = body + bytes(-len(body) % BLOCK)
    return archive[:at] + with_checksum(bytes(block)) + padded + archive[at:]


def _damaged_records(body: bytes, random_: random.Random) -> bytes:
    ways: list[Callable[[bytes], bytes]] = [
        lambda body: body[:-1],
        lambda body: body + b"\n",
        lambda body: b"0" + body,
        lambda body: b"+" + body,
        lambda body: b" " + body,
        lambda body: body.replace(b"=", b"", 1),
        lambda body: body + b"5 a=\n",
        lambda body: body + b"4 a=\n",
        lambda body: body + b"6 a=b",
        lambda body: body + bytes(3),
        lambda body: body + b"99999999999999999999 a=b\n",
        lambda body: body + b"007 a=b\n",
        lambda body: body + b"8  a=b\n",
    ]
    return random_.choice(ways)(body)


def _sparse_body(archive: bytes, random_: random.Random) -> bytes:
    """Write a PAX 1.0 map where the body of some member begins."""
    at = _header(archive, random_) + BLOCK
    texts = (
        b"1\n0\n5\n",
        b"0\n",
        b"2\n0\n512\n512\n5\n",
        b"-1\n",
        b"x\n",
        b"1\n0\n",
        b"9999999999\n",
        b"1\n\n\n",
        b"+1\n0\n0\n",
    )
    text = random_.choice(texts)
    return archive[:at] + text + archive[at + len(text) :]


_MUTATIONS = (
    _number, _number, _number, _text, _type, _type, _byte, _byte, _any_byte, _checksum, _cut, _zero_block, _remove,
    _repeat, _extension, _extension, _extension, _sparse_body,
)  # fmt: skip
