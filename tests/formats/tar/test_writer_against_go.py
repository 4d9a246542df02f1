"""Our writer beside Go's: the same headers must give the same bytes."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from pathlib import Path
from typing import Any

from tests.formats.tar.archives import BLOCK
from tests.formats.tar.building import EPOCH, held
from wclayer.formats.tar import TarLayerWriter
from wclayer.model import Entry, LayerItem, Metadata, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.reparse import build_link


def test_the_same_bytes_as_go(gotar: Path) -> None:
    """Entries of all kinds, beside what Go writes for the headers that go-winio would make of them."""
    random_ = random.Random(4)
    items: list[LayerItem] = []
    headers = []
    for number in range(200):
        item, header = _some_entry(random_, number)
        items.append(item)
        headers.append(header)
    made = subprocess.run([str(gotar), "write"], input=json.dumps(headers).encode(), capture_output=True, check=True)
    out = bytearray()
    with TarLayerWriter(out.extend) as writer:
        for item in items:
            writer.write(item)
    ours = bytes(out)
    at = next((at for at in range(0, len(ours), BLOCK) if ours[at : at + BLOCK] != made.stdout[at : at + BLOCK]), None)
    assert at is None, (ours[at : at + BLOCK], made.stdout[at : at + BLOCK])
    assert len(ours) == len(made.stdout)


def _text(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def _some_entry(random_: random.Random, number: int) -> tuple[LayerItem, dict[str, Any]]:
    parts = [random_.choice("aöZ日 .\ud800") * random_.choice((1, 5, 49, 50, 99, 100, 101)) for _ in range(3)]
    path = "/".join(["Files", *parts[: random_.randrange(4)], f"n{number}"])
    if random_.random() < 0.1:
        folder, _, base = path.rpartition("/")
        return Tombstone(path), {"name": _text(f"{folder}/.wh.{base}".encode("utf-8", "surrogatepass"))}
    some = (EPOCH, EPOCH - 1, EPOCH + 10**7, 132223104123456789, EPOCH + (2**33) * 10**7)
    created, access, write, change = (random_.choice(some) for _ in range(4))
    names = random_.sample(range(65, 120), random_.choice((0, 1, 4)))
    eas = tuple(ExtendedAttribute(b"%c" % name, bytes(name % 50)) for name in names)
    security = random_.choice((None, b"", bytes(random_.choice((30, 31, 32, 33, 650)))))
    attributes = random_.choice((0, 32, 2**32 - 1))
    item = Entry(path, Metadata(attributes, created, access, write, change, security, eas))
    kind, mode, data, target = "0", 0, b"", ""
    shape = random_.randrange(4)
    if shape == 0:
        kind, mode, item.is_directory = "5", 0o40000, True
    elif shape == 1:
        kind, mode = "2", 0o120000
        target = random_.choice("xö") * random_.choice((1, 50, 51, 100, 101))
        item.metadata.reparse = build_link(target, mount_point=False)
    elif shape == 2:
        mode, data = 0o100000, bytes(random_.choice((0, 1, 511, 512, 513)))
        item.data = held(data, len(data))
    pairs = [("LIBARCHIVE.creationtime", _seconds(created)), ("MSWINDOWS.fileattr", str(item.metadata.attributes))]
    pairs += [("MSWINDOWS.xattr." + ea.name.decode(), base64.b64encode(ea.value).decode()) for ea in eas]
    if security is not None:
        pairs.append(("MSWINDOWS.rawsd", base64.b64encode(security).decode()))
    return item, {
        "name": _text(path.encode("utf-8", "surrogatepass")),
        "typeflag": kind,
        "size": len(data),
        "mode": mode,
        "linkname": target,
        "mtime": _pair(write),
        "atime": _pair(access),
        "ctime": _pair(change),
        "pax": pairs,
        "data": base64.b64encode(data).decode(),
    }


def _pair(filetime: int) -> list[int]:
    return [*divmod((filetime - EPOCH) * 100, 10**9)]


def _seconds(filetime: int) -> str:
    ticks = filetime - EPOCH
    whole, rest = divmod(abs(ticks), 10**7)
    return ("-" if ticks < 0 else "") + (f"{whole}.{rest:07d}".rstrip("0") if rest else str(whole))
