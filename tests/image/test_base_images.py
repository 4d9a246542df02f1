"""An image stands on the longest chain of DiffIDs that the catalogue knows, however its layers are compressed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.images import image
from tests.image.registry.windows_images import patch, remove_application, server_core
from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError
from wclayer.image.base_images import Catalog, KnownBase, base_of, default_catalog_file, known_bases
from wclayer.image.copying.recompressing import recompress_image
from wclayer.image.unpack import unpack
from wclayer.oci import Platform


def images(folder: Path) -> tuple[str, str, str]:
    """A base, the same patched, and an image of somebody on top of the patched one."""
    windows = server_core()
    base = windows.image(folder / "bases", "rtm", os_version="10.0.20348.2227")
    patch(windows)
    patched = windows.image(folder / "bases", "patched", os_version="10.0.20348.2322")
    remove_application(windows)
    return base, patched, windows.image(folder / "own", os_version="10.0.20348.2322")


def known(*references: str) -> Catalog:
    catalog = Catalog()
    for reference in references:
        assert catalog.add(known_bases(reference)) == 1
    return catalog


def test_the_longest_chain_is_the_base(tmp_path: Path) -> None:
    base, patched, own = images(tmp_path)
    answer = base_of(own, known(base, patched))
    assert [(one.name, one.os_version) for one in answer.bases] == [(patched, "10.0.20348.2322")]
    assert (answer.base_layers, len(answer.diff_ids)) == (2, 3)
    assert [one.name for one in base_of(own, known(base)).bases] == [base]


def test_compression_does_not_matter(tmp_path: Path) -> None:
    _, patched, own = images(tmp_path)
    again = f"oci:{tmp_path / 'zstd'}:x"
    recompress_image(own, again, "zstd")
    assert [one.name for one in base_of(again, known(patched)).bases] == [patched]


def test_an_unpacked_image_stands_on_the_same(tmp_path: Path) -> None:
    _, patched, own = images(tmp_path)
    unpack(own, tmp_path / "out")
    assert [one.name for one in base_of(str(tmp_path / "out"), known(patched)).bases] == [patched]


def test_another_revision_is_related_and_no_base(tmp_path: Path) -> None:
    _, patched, _ = images(tmp_path)
    windows = server_core()
    patch(windows, ubr=2333, kb="KB5034999")
    other = windows.image(tmp_path / "other")
    answer = base_of(other, known(patched))
    assert (answer.bases, answer.shared_layers) == ((), 1)
    assert [one.name for one in answer.related] == [patched]
    assert answer.to_json()["known"] is False


def test_what_shares_nothing_is_related_to_nothing(tmp_path: Path) -> None:
    base, _, _ = images(tmp_path)
    windows = server_core(ubr=1)
    answer = base_of(windows.image(tmp_path / "other"), known(base))
    assert (answer.bases, answer.related, answer.shared_layers) == ((), (), 0)


def test_all_names_of_a_base_are_said(tmp_path: Path) -> None:
    base, _, own = images(tmp_path)
    catalog = known(base)
    [entry] = catalog.bases
    catalog.add([KnownBase("another:name", entry.os_version, entry.architecture, entry.diff_ids)])
    assert sorted(one.name for one in base_of(own, catalog).bases) == sorted(["another:name", base])


def test_a_catalogue_comes_back_as_it_was_written_and_keeps_old_versions(tmp_path: Path) -> None:
    base, patched, _ = images(tmp_path)
    catalog = known(base, patched)
    path = tmp_path / "new" / "catalog.json"
    catalog.save(path)
    first = path.read_bytes()
    again = Catalog.load(path)
    assert again == catalog
    assert again.add(known_bases(base)) == 0
    [entry] = known_bases(base)
    assert again.add([KnownBase(base, "10.0.20348.9999", "amd64", (*entry.diff_ids, *entry.diff_ids))]) == 1
    assert len(again.bases) == 3
    catalog.save(path)
    assert path.read_bytes() == first


def test_an_image_of_another_system_is_no_base(tmp_path: Path) -> None:
    reference = image(tmp_path / "linux", b"\0" * 1024, platform=Platform("linux", "amd64"))
    with pytest.raises(UsageError, match="no Windows image"):
        known_bases(reference)


def test_without_diff_ids_there_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(b"\0" * 1024)
    with pytest.raises(UnsupportedError, match="DiffIDs"):
        base_of(str(tmp_path / "layer.tar"), Catalog())


def test_no_catalogue_is_not_found_and_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Catalog.load(tmp_path / "none.json")
    assert "wclayer catalog update" in str(caught.value.hint)


ENTRY = {"name": "a", "os.version": "", "architecture": "amd64", "diff_ids": ["sha256:" + "0" * 64]}


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"schema": "wclayer.catalog/2", "images": []},
        {"schema": "wclayer.catalog/1", "images": {}},
        {"schema": "wclayer.catalog/1", "images": [{}]},
        {"schema": "wclayer.catalog/1", "images": [{**ENTRY, "diff_ids": []}]},
        {"schema": "wclayer.catalog/1", "images": [{**ENTRY, "diff_ids": ["x"]}]},
        {"schema": "wclayer.catalog/1", "images": [{**ENTRY, "name": 1}]},
        [],
    ],
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, document: object) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(json.dumps(document))
    with pytest.raises((FormatError, UsageError)):
        Catalog.load(path)


def test_the_catalogue_of_a_user_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_CATALOG", "/somewhere/bases.json")
    assert default_catalog_file() == Path("/somewhere/bases.json")
    monkeypatch.delenv("WCLAYER_CATALOG")
    assert default_catalog_file().name == "catalog.json"


CHAINS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)


@given(st.lists(CHAINS, max_size=8), CHAINS)
def test_the_answer_is_that_of_comparing_all_chains(chains: list[tuple[str, ...]], wanted: tuple[str, ...]) -> None:
    catalog = Catalog([KnownBase(str(chain), "", "", chain) for chain in chains])
    answer = catalog.match("x", wanted)
    prefixes = [wanted[:length] for length in range(len(wanted), 0, -1) if wanted[:length] in chains]
    assert {one.diff_ids for one in answer.bases} == set(prefixes[:1])
    assert answer.base_layers == (len(prefixes[0]) if prefixes else 0)
