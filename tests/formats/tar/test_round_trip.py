"""Items to a tar and back under the faithful policy, and an archive to its record and back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.tar.archives import mutate
from tests.formats.tar.building import END, block, extension, flat, held, member, read
from wclayer.errors import WclayerError
from wclayer.formats.tar import Member, Members, SlabStream, TarLayerReader, TarLayerWriter
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import checked_path
from wclayer.ntfs.reparse import build_link

LONE = "\ud800\udbff\udc00\udfff"
CHARACTERS = st.characters(exclude_characters="/\\:\0") | st.sampled_from(LONE)


def _passes(name: str) -> bool:
    try:
        return checked_path(name) == name
    except WclayerError:
        return False


def _settled(name: str) -> str:
    """``name`` with adjacent halves of a pair joined, as UTF-16 has it."""
    return name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


COMPONENTS = (
    st.text(CHARACTERS, min_size=1, max_size=12)
    | st.sampled_from(["a" * 99, "b" * 100, "d" * 101, "ö" * 120, "a.", " x", ".wh", "x.wh.y", "日本"])
).filter(lambda name: _passes(name) and not name.startswith(".wh."))
PATHS = st.lists(COMPONENTS, min_size=1, max_size=4).map(lambda parts: "/".join(["Files", *parts]))
FILETIMES = st.none() | st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 116444736000000000, 2**64 - 1])
EAS = st.lists(
    st.builds(
        ExtendedAttribute,
        st.binary(max_size=20).filter(lambda name: b"=" not in name and b"\0" not in name),
        st.binary(max_size=60),
        st.integers(0, 255),
    ),
    max_size=4,
    unique_by=lambda ea: ea.name,
).map(lambda eas: tuple(sorted(eas)))
STREAM_NAMES = st.text(CHARACTERS, min_size=1, max_size=10).map(lambda name: f":{name}:$DATA")
BYTES = st.binary(max_size=40) | st.sampled_from([b"", b"x" * 511, b"x" * 512, b"x" * 513])


@st.composite
def metadata(draw: st.DrawFn, attributes: int, *, whole: bool = True) -> Metadata:
    made = Metadata(
        draw(st.integers(0, 2**32 - 1)) & ~0x10 | attributes,
        draw(FILETIMES),
        draw(FILETIMES),
        draw(FILETIMES),
        draw(FILETIMES),
    )
    if whole:
        made.security_descriptor = draw(st.none() | st.binary(max_size=80))
        made.extended_attributes = draw(EAS)
    return made


@st.composite
def entries(draw: st.DrawFn) -> list[LayerItem]:
    """An entry and its streams, or one of the other items."""
    path = draw(PATHS)
    shape = draw(st.integers(0, 6))
    if shape == 0:
        return [Tombstone(path)]
    if shape == 1:
        return [HardLink(path, draw(PATHS), draw(metadata(0, whole=False)))]
    made: list[LayerItem] = []
    if shape == 2:
        data = draw(st.sampled_from([None, held(b"", 0)]))
        made.append(Entry(path, draw(metadata(0x10)), is_directory=True, data=data))
    elif shape == 3:
        is_directory = draw(st.booleans())
        mount_point = is_directory and draw(st.booleans())
        target = _settled(
            draw(st.text(CHARACTERS | st.sampled_from("\\:/"), max_size=150).filter(lambda t: "\0" not in t))
        )
        link = draw(metadata(0x10 if is_directory else 0))
        link.reparse = build_link(target, mount_point=mount_point)
        made.append(Entry(path, link, is_directory=is_directory))
    else:
        content = draw(st.none() | BYTES)
        made.append(Entry(path, draw(metadata(0)), data=None if content is None else held(content, len(content))))
    for name in draw(st.lists(STREAM_NAMES, max_size=2, unique=True)):
        content = draw(BYTES)
        made.append(AlternateStream(path, name, held(content, len(content))))
    return made


def _written(items: list[LayerItem]) -> bytes:
    out = bytearray()
    with TarLayerWriter(out.extend, policy="faithful") as writer:
        for item in items:
            writer.write(item)
    return bytes(out)


@given(st.lists(entries(), max_size=4))
def test_items_come_back(groups: list[list[LayerItem]]) -> None:
    items = [item for group in groups for item in group]
    before = [flat(item) for item in items]
    archive = _written(items)
    assert [flat(item) for item in read(archive)] == before
    assert _written(read(archive)) == archive


@given(st.lists(entries(), max_size=3), st.sampled_from([1, 100, 512, 5000]))
def test_the_size_of_slabs_does_not_matter(groups: list[list[LayerItem]], slab: int) -> None:
    archive = _written([item for group in groups for item in group])
    slabs = [archive[start : start + slab] for start in range(0, len(archive), slab)]
    assert [flat(item) for item in read(slabs)] == [flat(item) for item in read(archive)]


class Recorder:
    """Keeps an archive as what is outside of bodies, and where the bodies belong."""

    def __init__(self) -> None:
        self.parts: list[bytes | tuple[int, int, int]] = []

    def segment(self, data: bytes) -> None:
        self.parts.append(bytes(data))

    def body(self, ordinal: int, offset: int, length: int) -> None:
        self.parts.append((ordinal, offset, length))

    def rebuilt(self, contents: dict[int, bytes]) -> bytes:
        return b"".join(
            part if isinstance(part, bytes) else contents[part[0]][part[1] : part[1] + part[2]] for part in self.parts
        )


def recorded(archive: bytes, slab: int = 1000) -> bytes:
    """The archive after it was taken apart into a record and contents, and put together again."""
    recorder = Recorder()
    slabs = [archive[start : start + slab] for start in range(0, len(archive), slab)]
    contents: dict[int, bytes] = {}
    for item in TarLayerReader(slabs, recorder=recorder):
        if isinstance(item, (Entry, AlternateStream)) and item.data is not None:
            contents[item.ordinal] = b"".join(bytes(piece) for piece in item.data.pieces())
    return recorder.rebuilt(contents)


SPARSE = [(b"GNU.sparse.size", b"2000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.map", b"0,5,1000,3")]
OLD_MAP = {386: b"%011o\0%011o\0" % (1, 8), 483: b"%011o\0" % 99}
SPARSE_1_0 = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"2000")]


def test_a_record_has_every_byte() -> None:
    archive = (
        extension((b"path", b"ignored"), kind=b"g")
        + member(b"././@LongLink", b"Files/long\0", b"L")
        + member(b"Files/x", b"x" * 700)
        + extension(*SPARSE)
        + member(b"Files/s", b"helloend")
        + extension(*SPARSE_1_0)
        + member(b"Files/t", b"1\n9\n8\n".ljust(512, b"\0") + b"sparse!!")
        + block(
            b"Files/u", b"S", size=8, magic=b"ustar  \0", fields={386: b"%011o\0%011o\0" % (1, 8), 483: b"%011o\0" % 99}
        )
        + b"\xff" * 512
        + member(b"Files/.wh.gone", b"body of a deletion")
        + block(b"Files/l", b"2", size=99, link=b"x")
        + member(b"Files/x:s", b"stream")
    )
    for rest in (END, END + b"garbage" * 100, b"", bytes(512)):
        for slab in (1, 512, 1000, 1 << 20):
            assert recorded(archive + rest, slab) == archive + rest


def test_padding_is_not_always_zeros() -> None:
    archive = member(b"Files/a", b"x")[:-3] + b"abc" + member(b"Files/b", b"y")[:-100]
    assert recorded(archive) == archive


@given(st.lists(entries(), max_size=3), st.randoms(use_true_random=False))
def test_damaged_archives_are_recorded_whole_or_refused(groups: list[list[LayerItem]], random_: Any) -> None:
    archive = mutate(_written([item for group in groups for item in group]), random_)
    try:
        again = recorded(archive)
    except WclayerError:
        return
    assert again == archive


def test_a_body_that_was_left_unread_is_part_of_the_record() -> None:
    archive = member(b"Files/a", b"x" * 700) + member(b"Files/b", b"y") + END
    recorder = Recorder()
    for _ in TarLayerReader([archive[start : start + 100] for start in range(0, len(archive), 100)], recorder=recorder):
        pass
    assert recorder.rebuilt({}) == archive


def test_a_body_is_recorded_once_even_if_its_reader_stops() -> None:
    archive = member(b"Files/a", b"x" * 700) + END
    recorder = Recorder()
    members = Members(SlabStream([archive[start : start + 100] for start in range(0, len(archive), 100)]), recorder)
    first = members.next()
    assert isinstance(first, Member)
    next(members.body(700))
    assert members.next() is None
    assert recorder.rebuilt({0: b"x" * 700}) == archive


@given(st.text(CHARACTERS, min_size=1, max_size=20))
def test_a_folder_that_is_known_lets_nothing_else_through(name: str) -> None:
    """Entries of a folder that passed the gate take a shorter way through it, which must lead to the same place."""
    path = f"Files/known/{name}"
    encoded = path.encode("utf-8", "surrogatepass")
    body = extension((b"path", encoded)) + block(b"x")
    items = []
    for before in (b"", member(b"Files/known/a")):
        try:
            items.append([flat(item) for item in read(before + body + END)][-1])
        except WclayerError as error:
            items.append((type(error), error.path))
    assert items[0] == items[1]
    if items[0][0] == "entry":
        assert items[0][1] == checked_path(path)
