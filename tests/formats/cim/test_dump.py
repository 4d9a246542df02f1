"""The dump of an image says all that there is, in words that another reader's dump can be compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.formats.cim.images import (
    NULL_DACL,
    Node,
    Stream,
    build,
    digest,
    ea_list,
    file,
    folder,
    reparse_buffer,
    rich,
)
from wclayer.errors import UnsupportedError
from wclayer.formats.cim.dump import dump
from wclayer.formats.cim.reader import CimImage

# fmt: off
FIELDS = [
    "path", "fileid", "parentfileid", "baseregion", "dir", "attributes", "flags", "reparsetag", "creation", "lastwrite",
    "change", "lastaccess", "size", "sha256", "streamtype", "sparse", "dataregion", "dataoffset", "sdoffset", "sd",
    "ea", "reparse", "streams", "nlinks", "entrysize", "tail",
]
# fmt: on


def test_every_field_of_a_file_and_of_its_folder(tmp_path: Path) -> None:
    tag, link = reparse_buffer()
    eas = ea_list((b"A", b"1"))
    one = file(
        b"hello",
        flags=0x09,
        times=(1, 2, 3, 4),
        ea=eas,
        reparse=link,
        tag=tag,
        streams={"s": Stream(b"x"), "z": Stream(sparse_size=3)},
        tail=b"\1\2",
    )
    with CimImage.open(build(tmp_path, folder({"d": folder({"f": one}), "g": one}), entry_size=104)) as image:
        lines = list(dump(image))
        plain = list(dump(image, contents=False))
    assert [line["path"] for line in lines] == ["", "d", "d\\f", "g"]
    assert all(list(line) == FIELDS for line in lines)
    root, _, f, g = lines
    assert f == {
        "path": "d\\f",
        "fileid": 3,
        "parentfileid": 2,
        "baseregion": 0,
        "dir": False,
        "attributes": 0x421,
        "flags": 9,
        "reparsetag": tag,
        "creation": 1,
        "lastwrite": 2,
        "change": 3,
        "lastaccess": 4,
        "size": 5,
        "sha256": digest(b"hello"),
        "streamtype": 0,
        "sparse": False,
        "dataregion": 1,
        "dataoffset": 40,
        "sdoffset": 40,
        "sd": NULL_DACL.hex(),
        "ea": eas.hex(),
        "reparse": link.hex(),
        "streams": [
            {"name": "s", "size": 1, "sha256": digest(b"x"), "sparse": False},
            {"name": "z", "size": 3, "sha256": digest(bytes(3)), "sparse": True},
        ],
        "nlinks": 2,
        "entrysize": 104,
        "tail": "0102000000000000",
    }
    assert g == f | {"path": "g"}
    assert (root["dir"], root["sha256"], root["size"], root["streamtype"], root["nlinks"]) == (True, "", 0, 1, 1)
    assert (root["dataregion"], root["ea"], root["reparse"], root["streams"]) == (0, "", "", [])
    assert [line["sha256"] for line in plain] == [None] * 4
    assert plain[2]["streams"] == [
        {"name": "s", "size": 1, "sha256": None, "sparse": False},
        {"name": "z", "size": 3, "sha256": None, "sparse": True},
    ]


def test_what_is_not_there_is_zero_or_empty(tmp_path: Path) -> None:
    root = folder({"empty": file(sd=None), "zeros": Node(Stream(sparse_size=70000))})
    with CimImage.open(build(tmp_path, root)) as image:
        _, empty, zeros = dump(image)
    assert (empty["dataregion"], empty["dataoffset"], empty["sd"], empty["sdoffset"]) == (0, 0, "", 0)
    assert (empty["size"], empty["sha256"], empty["tail"]) == (0, digest(b""), "")
    assert (zeros["sparse"], zeros["size"], zeros["sha256"]) == (True, 70000, digest(bytes(70000)))


def test_a_dump_is_json_whatever_the_names(tmp_path: Path) -> None:
    root = rich(5)
    del root.children["sparse"]  # type: ignore[union-attr]
    with CimImage.open(build(tmp_path, root)) as image:
        lines = list(dump(image))
    again = [json.loads(json.dumps(line)) for line in lines]
    assert again == lines
    assert "Ж\ud800\U00010400" in [line["path"] for line in again]
    by_path = {line["path"]: line for line in lines}
    assert by_path["app.exe"]["streamtype"] == 2
    assert by_path["app.exe"]["sha256"] == digest(b"H" * 512 + b"T" * 1024)


def test_a_stream_that_cannot_be_read_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    path = build(tmp_path, folder({"f": Node(Stream(b"x", size_bits=5 << 48))}))
    with CimImage.open(path) as image, pytest.raises(UnsupportedError):
        list(dump(image))
    with CimImage.open(path) as image:
        assert [line["streamtype"] for line in dump(image, contents=False)] == [1, 5]
