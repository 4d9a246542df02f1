"""Random trees: what is asked for is read back, lies where it may, and is found the way Windows looks for it."""

from __future__ import annotations

import tempfile
import uuid
from bisect import bisect_left
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.cim.layout import Layout
from wclayer.formats.cim.profiles import PROFILES
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.writer import CimWriter
from wclayer.model import Metadata
from wclayer.ntfs.names import fold

GUID = uuid.UUID("00112233-5544-4677-8899-aabbccddeeff")

# ASCII on both sides of the letters, Latin-1, Greek, Cyrillic, Georgian, private use, lone surrogates and pairs: the
# orders by units, by code points and by upper case all differ for some of them.
LETTERS = (
    "aAzZ_[1" + "ßàÀÿ\u0178" + "αΑωΩς" + "яЯёЁ" + "აⴀᲐ" + "\ue000\ufffd\uffff" + "\ud800\udfff" + "\U00010428\U0001f600"
)
NAMES = st.text(LETTERS, min_size=1, max_size=4).filter(lambda name: "\ud800\udfff" not in name)
DATA = st.sampled_from([b"", b"1", b"same", b"x" * 4095, b"y" * 4096, b"z" * 4097, b"w" * 9000, b"s" * 1500])
INDEX = st.integers(0, 1 << 16)
METADATA = st.builds(
    Metadata,
    attributes=st.sampled_from([0, 1, 0x20, 0x27]),
    creation_time=st.sampled_from([1, 1 << 62]),
    last_access_time=st.just(2),
    last_write_time=st.just(3),
    change_time=st.just(4),
    security_descriptor=st.sampled_from([None, bytes.fromhex("01000480" + "00" * 12 + "140000000200080000000000")]),
)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("directory"), INDEX, NAMES, METADATA),
        st.tuples(st.just("file"), INDEX, NAMES, METADATA, DATA),
        st.tuples(st.just("stream"), INDEX, NAMES, DATA),
        st.tuples(st.just("link"), INDEX, NAMES, INDEX),
        st.tuples(st.just("remove"), INDEX),
    ),
    max_size=25,
)
PATIENT = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Thing:
    def __init__(self, metadata: Metadata, data: bytes | None) -> None:
        self.metadata = metadata
        self.data = data
        self.streams: dict[str, tuple[str, bytes]] = {}


class Expected:
    """What an image should say, by folded paths; says which calls make sense. Spellings never collide."""

    def __init__(self) -> None:
        self.things: dict[str, tuple[str, Thing]] = {"": ("", Thing(Metadata(), None))}
        self.forgotten = False  # whether there is something in the regions that nothing leads to

    def paths(self, *, folders: bool | None = None) -> list[str]:
        return [path for path, thing in self.things.values() if folders is None or (thing.data is None) == folders]

    def place(self, index: int, name: str) -> str:
        """A new path in some folder, spelt as what is there already."""
        folders = self.paths(folders=True)
        folder = folders[index % len(folders)]
        path = f"{folder}/{name}" if folder else name
        known = self.things.get(fold(path))
        return known[0] if known else path

    def forget(self, path: str) -> None:
        inside = fold(path) + "/"
        for key in [key for key in self.things if key == fold(path) or key.startswith(inside)]:
            self.forgotten = True
            del self.things[key]

    def apply(self, writer: CimWriter, operation: tuple[Any, ...]) -> None:
        kind, index, *rest = operation
        if kind == "directory":
            path = self.place(index, rest[0])
            writer.add_directory(path, rest[1])
            there = self.things.get(fold(path))
            if there and there[1].data is None:
                there[1].metadata, there[1].streams = rest[1], {}
                self.forgotten = True
            else:
                self.forget(path)
                self.things[fold(path)] = path, Thing(rest[1], None)
        elif kind == "file":
            path = self.place(index, rest[0])
            with writer.add_file(path, rest[1], len(rest[2])) as sink:
                sink.write(rest[2])
            self.forget(path)
            self.things[fold(path)] = path, Thing(rest[1], rest[2])
        elif kind == "stream":
            path = self.paths()[index % len(self.things)]
            streams = self.things[fold(path)][1].streams
            self.forgotten |= fold(rest[0]) in streams
            name = streams.get(fold(rest[0]), (rest[0], b""))[0]
            writer.add_stream(path, name, len(rest[1])).write(rest[1])
            streams[fold(name)] = name, rest[1]
        elif kind == "link":
            files = self.paths(folders=False)
            if files:
                target = files[rest[1] % len(files)]
                thing = self.things[fold(target)][1]
                path = self.place(index, rest[0])
                writer.add_link(path, target)
                self.forget(path)
                self.things[fold(path)] = path, thing
        elif len(self.things) > 1:
            path = self.paths()[1:][index % (len(self.things) - 1)]
            writer.remove(path)
            self.forget(path)


def check(path: Path, expected: Expected) -> None:
    """The image says what is expected, to our reader and to a search in the bytes."""
    groups: dict[int, Thing] = {}
    with CimImage.open(path) as image:
        found = {file.path: file for file in image.walk()}
        assert set(found) == {path for path, _ in expected.things.values()}
        for spelt, thing in expected.things.values():
            file = found[spelt]
            assert groups.setdefault(file.file_id, thing) is thing
            if spelt:
                metadata = file.metadata
                assert metadata.attributes == thing.metadata.attributes | (0x10 if thing.data is None else 0)
                assert metadata.creation_time == thing.metadata.creation_time
                assert metadata.security_descriptor == (
                    thing.metadata.security_descriptor or bytes.fromhex("01000480" + "00" * 16)
                )
            assert file.is_directory == (thing.data is None)
            if thing.data is not None:
                assert b"".join(file.pieces()) == thing.data
            streams = {one.name: b"".join(one.pieces()) for one in file.streams}
            assert streams == dict(thing.streams.values())
            looked_up = image.lookup(fold(spelt))
            assert looked_up is not None
            assert looked_up.path == spelt
    layout = Layout(path)
    layout.check(all_referenced=not expected.forgotten)
    for file_id, record in layout.records.items():
        if record[8] >> 48 & 0xFF != 1:
            continue
        names = layout.names(file_id)
        keys = [layout.key(name) for name, _ in names]
        assert keys == sorted(set(keys))
        for name, child in names:
            assert keys[bisect_left(keys, layout.key(name))] == layout.key(name)
            assert file_id == layout.records[child][13] or child in [
                one for _, one in layout.names(layout.records[child][13])
            ]


@PATIENT
@given(OPERATIONS, st.sampled_from([0, 1024]), st.booleans(), st.sampled_from(sorted(PROFILES)))
def test_any_tree_is_read_back(operations: list[Any], small_limit: int, deduplicate: bool, profile: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        written = []
        for number in range(2):
            directory = Path(place, str(number))
            directory.mkdir()
            expected = Expected()
            with CimWriter(
                directory,
                "a.cim",
                guid=GUID,
                small_limit=small_limit,
                deduplicate=deduplicate,
                profile=PROFILES[profile],
                check="all",
            ) as writer:
                for operation in operations:
                    expected.apply(writer, operation)
            written.append({path.name: path.read_bytes() for path in directory.iterdir()})
        assert written[0] == written[1]
        check(directory / "a.cim", expected)


@PATIENT
@given(st.lists(OPERATIONS, min_size=2, max_size=4))
def test_forks_of_forks_say_what_one_image_would(layers: list[list[Any]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        expected = Expected()
        for number, operations in enumerate(layers):
            parent = f"{number - 1}.cim" if number else None
            with CimWriter(place, f"{number}.cim", parent=parent, check="all") as writer:
                for operation in operations:
                    expected.apply(writer, operation)
        check(Path(place, f"{len(layers) - 1}.cim"), expected)
