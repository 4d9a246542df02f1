"""A whole import that fails at any of its steps: nothing is left, nothing stays open. And what it returns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.formats.tar.archives import BLOCK, header_offsets
from tests.formats.tar.building import END, block, member
from tests.formats.transport.layers import ads, file, folder, gone, link, tar_of
from tests.image.transport_layers import BASE, DIFF, UTILITY_VM, names
from tests.open_files import open_files
from wclayer.errors import FormatError, StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.tar import Members, SlabStream
from wclayer.formats.transport import LegacyLayerWriter
from wclayer.formats.volume import Volume
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.image.transport_export import export_layer_to_tar
from wclayer.image.transport_import import LayerCalls, import_layer_from_tar
from wclayer.model import LayerItem


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base layer."""
    return import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path


def fail(*_arguments: object, **_options: object) -> None:
    raise StoreError("no")


PATCHED = {
    "deletions": "wclayer.formats.transport.commit._remove",
    "links": "wclayer.formats.transport.commit._replay",
    "times": "wclayer.formats.volume.Volume.set_basic",
    "durability": "wclayer.image.transport_import.synchronise",
}
CALLS = {
    "import": LayerCalls(import_layer=fail),
    "utility VM": LayerCalls(process_utility_image=fail),
}


@pytest.mark.parametrize("step", [*PATCHED, *CALLS])
def test_33_whatever_step_fails_nothing_is_left_and_nothing_stays_open(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    if step in PATCHED:
        monkeypatch.setattr(PATCHED[step], fail)
    before = open_files()
    with pytest.raises(StoreError, match="no"):
        import_layer_from_tar(
            [tar_of(*DIFF, *UTILITY_VM)], tmp_path / "layer", [base], calls=CALLS.get(step, LayerCalls())
        )
    assert open_files() == before
    assert names(tmp_path) == ["base"]


@pytest.mark.parametrize("missing", ["parent", "destination", "writer", "transport folder"])
def test_36_what_cannot_even_begin_leaves_nothing(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    parents, destination = [base], tmp_path / "layer"
    if missing == "parent":
        parents.append(tmp_path / "nowhere")
    elif missing == "destination":
        destination = tmp_path / "nowhere" / "layer"
    elif missing == "writer":
        monkeypatch.setattr(LegacyLayerWriter, "__init__", fail)
    else:
        monkeypatch.setattr("wclayer.image.transport_import.Manifest", fail)
    before = open_files()
    with pytest.raises(WclayerError):
        import_layer_from_tar([tar_of(*DIFF)], destination, parents)
    assert open_files() == before
    assert names(tmp_path) == ["base"]


def test_36_a_parent_that_is_named_second_and_missing_is_named_in_the_error(tmp_path: Path, base: Path) -> None:
    with pytest.raises(WclayerError, match="nowhere"):
        import_layer_from_tar([tar_of(*DIFF)], tmp_path / "layer", [base, tmp_path / "nowhere"])


# ---------------------------------------------------------------------- hard links on the way out


def test_44_the_first_name_is_a_file_and_every_later_one_a_link_without_a_descriptor(tmp_path: Path) -> None:
    items: list[LayerItem] = [folder("Files"), folder("Files/d"), file("Files/b", b"data")]
    items += [link("Files/c", "Files/b"), link("Files/d/a", "Files/b")]
    made = import_layer_from_tar([tar_of(*items)], tmp_path / "layer")
    out = bytearray()
    export_layer_to_tar(made.path, out.extend, is_base=True)
    found = {one.name: one for one in Members(SlabStream([bytes(out)]))}
    assert list(found) == [b"Files", b"Files/b", b"Files/c", b"Files/d", b"Files/d/a"]
    first = found[b"Files/b"]
    assert (first.type, first.size, b"MSWINDOWS.rawsd" in first.pax) == (ord("0"), 4, True)
    for name in (b"Files/c", b"Files/d/a"):
        later = found[name]
        assert (later.type, later.linkname, later.size, later.header.mode) == (ord("1"), b"Files/b", 0, 0o644)
        assert set(later.pax) == {b"LIBARCHIVE.creationtime", b"MSWINDOWS.fileattr", b"atime", b"ctime"}


# ---------------------------------------------------------------------- the size, and what stops an import


def test_46_the_size_is_that_of_the_files_and_of_nothing_else(tmp_path: Path, base: Path) -> None:
    items: list[LayerItem] = [
        folder("Files"),
        folder("Hives"),
        file("Hives/System_Delta", b"12345"),
        file("Files/a", b"123"),
        ads("Files/a", "s", b"not counted"),
        file("Files/none", None),
        link("Files/b", "Files/a"),
        gone("Files/gone"),
    ]
    contiguous = member(b"Files/c", b"not counted", b"7")
    tar = tar_of(*items).removesuffix(END) + contiguous + END
    assert import_layer_from_tar([tar], tmp_path / "layer", [base]).size == 8


def test_46_a_check_that_raises_at_any_entry_leaves_nothing(tmp_path: Path, base: Path) -> None:
    tar = tar_of(*DIFF, *UTILITY_VM)
    count = 0

    def check() -> None:
        nonlocal count
        count += 1

    import_layer_from_tar([tar], tmp_path / "whole", [base], check=check)
    assert count == len(DIFF) - 1 + len(UTILITY_VM)  # a stream comes with its file
    before = open_files()
    for last in range(count):
        left = [None] * last

        def stop(left: list[None] = left) -> None:
            if not left:
                raise KeyboardInterrupt
            left.pop()

        with pytest.raises(KeyboardInterrupt):
            import_layer_from_tar([tar], tmp_path / "layer", [base], check=stop)
        assert names(tmp_path) == ["base", "whole"]
    assert open_files() == before


def test_46_a_base_cut_within_any_entry_is_not_processed(tmp_path: Path) -> None:
    processed: list[Volume] = []
    calls = LayerCalls(process_base_image=processed.append, process_utility_image=processed.append)
    tar = tar_of(*BASE)
    headers = header_offsets(tar)
    before = open_files()
    for end in [at + 256 for at in headers] + [
        at + BLOCK + 1 for at in headers if tar[at + 124 : at + 135] == b"%011o" % 400
    ]:
        with pytest.raises(WclayerError):
            import_layer_from_tar([tar[:end]], tmp_path / "layer", calls=calls)
        assert names(tmp_path) == []
    assert processed == []
    assert open_files() == before


def test_46_an_error_of_the_tar_wins_over_what_closing_would_say(tmp_path: Path, base: Path) -> None:
    tar = tar_of(*DIFF).removesuffix(END) + block(b"Files/bad", size=700)
    with pytest.raises(WclayerError) as error:
        import_layer_from_tar([tar], tmp_path / "layer", [base], calls=LayerCalls(import_layer=fail))
    assert getattr(error.value, "kind", "") == "unexpected-eof"


# ---------------------------------------------------------------------- names that hcsshim's writers refuse


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b".wh.", r"invalid tombstone \."),
        (b"Files/.wh.", "invalid tombstone Files"),
        (b"Files/.wh..", "invalid tombstone Files"),
        (b"Files/d/.wh...", "invalid tombstone Files"),
        (b"Hives/.wh.Sam_Delta", r"invalid tombstone Hives\\Sam_Delta"),
        (b"UtilityVM/.wh.Files", r"invalid tombstone UtilityVM\\Files"),
    ],
)
def test_43_a_deletion_of_more_than_a_file_is_refused(tmp_path: Path, base: Path, name: bytes, text: str) -> None:
    tar = tar_of(*DIFF).removesuffix(END) + member(name) + END
    with pytest.raises(FormatError, match=text):
        import_layer_from_tar([tar], tmp_path / "layer", [base])
    assert names(tmp_path) == ["base"]


def test_43_an_opaque_deletion_deletes_nothing(tmp_path: Path, base: Path) -> None:
    tar = tar_of(folder("Files"), folder("Hives"), folder("Files/d"), file("Files/d/a")).removesuffix(END)
    made = import_layer_from_tar([tar + member(b"Files/d/.wh..wh..opq") + END], tmp_path / "layer", [base])
    with open_layer_volume(made.path) as layer:
        assert layer.exists("Files\\d\\a")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"/Files/a", "expected relative path"),
        (b"\\Files\\a", "expected relative path"),
        (b"C:/Files/a", "path contains invalid character `:`"),
        (b"Files/a:", "path contains invalid character `:`"),
        (b"Files/d:s", "path contains invalid character `:`"),
        (b"../a", "the name is invalid"),
    ],
)
@pytest.mark.parametrize("is_base", [False, True])
def test_50_a_name_that_leads_elsewhere_has_the_text_of_safefile(
    tmp_path: Path, base: Path, name: bytes, text: str, is_base: bool
) -> None:
    tar = tar_of(folder("Files"), folder("Hives")).removesuffix(END) + member(name, b"x") + END
    with pytest.raises(UnsafeEntryError, match=re.escape(text)):
        import_layer_from_tar([tar], tmp_path / "layer", [] if is_base else [base])
    assert names(tmp_path) == ["base"]
