"""Whatever the bytes are: items or an error of this package, in bounded time."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.tar.archives import BLOCK, by_python, mutate, records, with_checksum
from tests.formats.tar.building import END, block, extension, member, padded
from wclayer.errors import WclayerError
from wclayer.formats.tar import Members, Policy, SlabStream, TarLayerReader, TarLayerWriter
from wclayer.formats.tar.backuptar import AddOperation, import_operations
from wclayer.model import AlternateStream, Entry, Notices

SUITES = Path(__file__).resolve().parents[2] / "data"
SEEDS = [path.read_bytes() for path in sorted(SUITES.glob("layertar*/*/layer.tar")) if path.stat().st_size < 60_000]
SEEDS += [archive for _, archive in by_python()]
MOST_DATA = 1 << 22


def walk(archive: bytes, policy: Policy) -> bool:
    """Read everything and write it again; False when that ended with an error of ours."""
    try:
        with TarLayerWriter(lambda _data: None, policy=policy) as writer:
            for item in TarLayerReader([archive], policy=policy, notices=Notices(keep=1)):
                if isinstance(item, (Entry, AlternateStream)) and item.data is not None and item.data.size > MOST_DATA:
                    continue
                writer.write(item)
    except WclayerError:
        return False
    return True


def take(archive: bytes) -> bool:
    """The same for the operations of an importer."""
    try:
        for operation in import_operations(Members(SlabStream([archive]))):
            if isinstance(operation, AddOperation) and operation.size <= MOST_DATA:
                operation.copy_to(lambda _data: None)
    except WclayerError:
        return False
    return True


@pytest.mark.parametrize("policy", ["faithful", "reference"])
@given(data=st.binary(max_size=2000))
def test_any_bytes(policy: Policy, data: bytes) -> None:
    walk(data, policy)
    take(data)


@given(st.binary(min_size=BLOCK, max_size=BLOCK), st.binary(max_size=1200))
def test_any_header_with_a_good_checksum(header: bytes, rest: bytes) -> None:
    archive = with_checksum(header) + rest
    walk(archive, "faithful")
    take(archive)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=40)), max_size=5), st.sampled_from(b"0125xgSL"))
def test_any_records(pairs: list[tuple[bytes, bytes]], kind: int) -> None:
    body = records(*pairs)
    archive = block(b"x", b"x", size=len(body)) + padded(body) + member(b"Files/a", b"data", bytes([kind])) + END
    walk(archive, "faithful")
    take(archive)


KEYS = [
    b"path", b"linkpath", b"size", b"mtime", b"atime", b"ctime", b"LIBARCHIVE.creationtime", b"MSWINDOWS.fileattr",
    b"MSWINDOWS.rawsd", b"MSWINDOWS.sd", b"MSWINDOWS.mountpoint", b"MSWINDOWS.xattr.E", b"WCLAYER.eaflags.E",
    b"SCHILY.xattr.MSWINDOWS.sd", b"MSWINDOWS.createtime", b"GNU.sparse.map", b"GNU.sparse.numblocks",
    b"GNU.sparse.size", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.offset", b"GNU.sparse.numbytes",
]  # fmt: skip
VALUES = st.binary(max_size=30) | st.sampled_from(
    [b"0", b"1", b"-1", b"0,5", b"4294967295", b"AAAA", b"O:BA", b"D:(A;;FA;;;SY)", b".wh.x", b"a:b", b"99999999999"]
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6), st.sampled_from(b"01257S"))
def test_known_records_with_any_value(pairs: dict[bytes, bytes], kind: int) -> None:
    body = records(*pairs.items())
    archive = block(b"x", b"x", size=len(body)) + padded(body) + member(b"Files/a", b"1\n0\n5\n", bytes([kind])) + END
    policies: tuple[Policy, ...] = ("faithful", "reference")
    for policy in policies:
        walk(archive, policy)
    take(archive)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_archives(seed: int) -> None:
    random_ = random.Random(seed)
    outcomes = set()
    for _ in range(150):
        archive = mutate(random_.choice(SEEDS), random_)
        outcomes.add((walk(archive, "faithful"), take(archive)))
        walk(archive, "reference")
    assert {(True, True), (False, False)} <= outcomes


MEGABYTE = 1 << 20
HOSTILE = {
    "records of five bytes": extension() + block(b"x", b"x", size=5 * 200_000) + padded(b"5 a=\n" * 200_000),
    "a name of a megabyte": member(b"L", b"/" * MEGABYTE, b"L") + block(b"a"),
    "a name of many folders": member(b"L", b"a/" * (MEGABYTE // 2), b"L") + block(b"a"),
    "a name of dots": member(b"L", b"./" * (MEGABYTE // 2) + b"a", b"L") + block(b"a"),
    "a name of device beginnings": member(b"L", b"coN1/" * (MEGABYTE // 5), b"L") + block(b"a"),
    "a name that is not text": member(b"L", b"\xed\xa0" * (MEGABYTE // 2), b"L") + block(b"a"),
    "a deletion with a long name": member(b"L", b"a/" * (MEGABYTE // 2 - 4) + b".wh.x", b"L") + block(b"a"),
    "a target of a megabyte": member(b"K", b"/" * MEGABYTE, b"K") + block(b"a", b"2"),
    "a descriptor of a megabyte": member(b"a", b"", b"0", (b"MSWINDOWS.rawsd", b"A" * (MEGABYTE - 40))),
    "a descriptor of line ends": member(b"a", b"", b"0", (b"MSWINDOWS.rawsd", b"A\n" * (MEGABYTE // 2 - 40))),
    "many extended attributes": member(
        b"a", b"", b"0", *((b"MSWINDOWS.xattr.%d" % n, b"") for n in range(MEGABYTE // 29))
    ),
    "text of a descriptor": member(b"a", b"", b"0", (b"MSWINDOWS.sd", b"(" * (MEGABYTE - 40))),
    "many global headers": extension((b"a", b"b"), kind=b"g") * 2000,
    "headers without a member": extension((b"path", b"b")) * 2000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_headers_are_read_in_bounded_time(what: str) -> None:
    archive = HOSTILE[what] + END
    started = time.process_time()
    walk(archive, "faithful")
    take(archive)
    assert time.process_time() - started < 10
