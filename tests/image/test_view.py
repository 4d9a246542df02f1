"""What a container sees of a stack of layers."""

from __future__ import annotations

import time

import pytest

from tests.image.conftest import Stack
from tests.image.stacks import data_of, file, folder, folders, gone, junction, link, make_image, paths, stream, symlink
from wclayer.errors import NotFoundError, UnsafeEntryError
from wclayer.image.describe import describe, kind_of, list_row
from wclayer.image.target import open_view
from wclayer.model import LayerItem

# -------------------------------------------------------------------------------------------- files, folders, deletions


def test_the_nearest_file_wins(stack: Stack) -> None:
    view = stack([file("Files/a", b"base")], [file("Files/a", b"middle")], [file("Files/b", b"top")])
    assert data_of(view, "Files/a") == b"middle"
    assert view.number(view.find("Files/a").layer) == 1
    assert paths(view) == ["Files", "Files/a", "Files/b"]


def test_a_folder_is_the_union_of_all_layers(stack: Stack) -> None:
    view = stack(
        [*folders("Files", "Files/d"), file("Files/d/base")],
        [file("Files/d/middle")],
        [*folders("Files", "Files/d"), file("Files/d/top")],
    )
    assert paths(view, "Files/d") == ["Files/d/base", "Files/d/middle", "Files/d/top"]
    assert [view.number(layer) for layer, _ in view.find("Files/d").parts] == [2, 1, 0]


def test_a_tombstone_hides_what_is_below(stack: Stack) -> None:
    base = [*folders("Files", "Files/d", "Files/d/e"), file("Files/d/e/x"), file("Files/f")]
    view = stack(base, [gone("Files/d"), gone("Files/f")])
    assert paths(view) == ["Files"]
    with pytest.raises(NotFoundError, match=r"there is no C:\\d"):
        view.find("Files/d/e/x")


def test_a_tombstone_is_written_in_any_case(stack: Stack) -> None:
    view = stack([file("Files/Straße/Grüße"), file("Files/b")], [gone("FILES/STRASSE/x"), gone("files/B")])
    assert paths(view, "Files") == ["Files/Straße", "Files/Straße/Grüße"]
    view = stack([file("Files/Ärger")], [gone("files/äRGER")])
    assert paths(view, "Files") == []


def test_what_was_deleted_and_made_again_has_only_the_new(stack: Stack) -> None:
    base = [*folders("Files", "Files/lib"), file("Files/lib/hidden")]
    middle = [gone("Files/lib"), folder("Files/lib"), file("Files/lib/not-hidden")]
    view = stack(base, middle, [file("Files/lib/new")])
    assert paths(view, "Files/lib") == ["Files/lib/new", "Files/lib/not-hidden"]


def test_what_a_nearer_layer_makes_again_after_a_deletion_is_there(stack: Stack) -> None:
    view = stack([file("Files/d/old")], [gone("Files/d")], [file("Files/d/new")])
    assert paths(view, "Files/d") == ["Files/d/new"]


def test_a_file_replaces_a_folder_and_a_folder_a_file(stack: Stack) -> None:
    base = [*folders("Files/d"), file("Files/d/x"), file("Files/f", b"file")]
    view = stack(base, [file("Files/d", b"now a file"), folder("Files/f"), file("Files/f/y")])
    assert paths(view, "Files") == ["Files/d", "Files/f", "Files/f/y"]
    assert data_of(view, "Files/d") == b"now a file"
    with pytest.raises(NotFoundError, match=r"C:\\d is not a folder"):
        view.find("Files/d/x")


def test_a_file_between_two_folders_hides_the_lower_one(stack: Stack) -> None:
    view = stack([file("Files/d/low")], [file("Files/d", b"")], [file("Files/d/high")])
    assert paths(view, "Files/d") == ["Files/d/high"]


def test_of_what_a_layer_holds_and_deletes_files_are_gone_links_and_folders_stay(stack: Stack) -> None:
    base = [file("Files/target", b"data"), file("Files/f", b"old"), file("Files/l", b"old"), file("Files/d/old")]
    top = [gone("Files/f"), file("Files/f"), gone("Files/l"), link("Files/l", "Files/target")]
    view = stack(base, [*top, gone("Files/d"), folder("Files/d"), file("Files/d/new")])
    assert paths(view, "Files") == ["Files/d", "Files/d/new", "Files/l", "Files/target"]
    assert data_of(view, "Files/l") == b"data"


def test_a_folder_of_tombstones_only_is_no_folder(stack: Stack) -> None:
    assert paths(stack([file("Files/a")], [gone("Files/never/was/there")])) == ["Files", "Files/a"]
    view = stack([file("Files/d/x"), file("Files/d/y")], [gone("Files/d")], [gone("Files/d/x")])
    assert paths(view) == ["Files"]


def test_many_deep_folders_of_tombstones_take_no_longer_than_others(stack: Stack) -> None:
    deep = [f"Files/{number}/{'d/' * 300}" for number in range(8)]
    started = time.process_time()
    view = stack([file("Files/a")], [*(gone(f"{path}x") for path in deep), file(f"{deep[7]}y")])
    assert len(paths(view)) == 1 + 1 + 1 + 300 + 1
    assert time.process_time() - started < 5


def test_a_tombstone_below_a_file_changes_nothing(stack: Stack) -> None:
    view = stack([file("Files/a", b"still here")], [gone("Files/a/b")])
    assert data_of(view, "Files/a") == b"still here"


def test_tombstones_in_a_folder_that_only_they_mention_count_all_the_same(stack: Stack) -> None:
    view = stack([file("Files/D/x"), file("Files/D/y")], [gone("Files/d/x")])
    assert paths(view, "Files") == ["Files/D", "Files/D/y"]


def test_deletions_count_below_files_and_those_of_the_utility_vm_only(stack: Stack) -> None:
    base = [file("Hives/x"), file("UtilityVM/Files/x"), file("UtilityVM/y"), file("Other/z")]
    top = [gone("Hives/x"), gone("UtilityVM/Files/x"), gone("UtilityVM/y"), gone("Other/z"), folder("UtilityVM/Files")]
    view = stack(base, top)
    assert paths(view) == ["Hives", "Hives/x", "Other", "Other/z", "UtilityVM", "UtilityVM/Files", "UtilityVM/y"]


# ------------------------------------------------------------------------------------------------------- names and case


def test_names_are_one_whatever_their_case_and_spelt_as_the_nearest_layer_spells_them(stack: Stack) -> None:
    view = stack(
        [*folders("Files", "Files/Windows"), file("Files/Windows/Notes", b"1")],
        [*folders("Files", "Files/windows"), file("Files/windows/notes", b"2"), file("Files/windows/new")],
    )
    assert paths(view, "Files") == ["Files/windows", "Files/windows/new", "Files/windows/notes"]
    assert data_of(view, "files/WINDOWS/nOTES") == b"2"


def test_the_spelling_of_an_entry_wins_over_that_of_a_mere_mention(stack: Stack) -> None:
    view = stack([folder("Files/Windows"), file("Files/Windows/a")], [file("files/WINDOWS/b")])
    assert paths(view) == ["files", "files/Windows", "files/Windows/a", "files/Windows/b"]


def test_two_folders_of_one_layer_that_differ_in_case_are_one(stack: Stack) -> None:
    view = stack([folder("Files/A"), file("Files/A/x"), folder("Files/a"), file("Files/a/y"), file("Files/a/z")])
    assert paths(view, "Files") == ["Files/A", "Files/A/x", "Files/A/y", "Files/A/z"]
    assert view.find("FILES/a/X").path == "Files/A/x"


def test_two_files_of_one_layer_that_differ_in_case_are_both_there(stack: Stack) -> None:
    view = stack([file("Files/f", b"old")], [file("Files/F", b"upper"), file("Files/f", b"lower")])
    assert paths(view, "Files") == ["Files/F", "Files/f"]
    assert (data_of(view, "Files/F"), data_of(view, "Files/f")) == (b"upper", b"lower")


def test_a_nearer_file_hides_all_spellings_below_it(stack: Stack) -> None:
    view = stack([file("Files/F", b"upper"), file("Files/f", b"lower")], [file("Files/f", b"new")])
    assert [(found.path, data_of(view, found)) for found in view.walk(view.find("Files"))] == [("Files/f", b"new")]


def test_a_path_goes_through_the_folder_where_a_file_has_the_same_name_in_another_case(stack: Stack) -> None:
    view = stack([file("Files/A/x", b"inside")], [file("Files/q"), folder("Files/b"), file("Files/B")])
    assert [found.path for found in view.children(view.find("Files"))] == ["Files/A", "Files/b", "Files/B", "Files/q"]
    assert view.find("Files/b").is_folder
    assert not view.find("Files/B").is_folder


# ----------------------------------------------------------------------------------------------------------- hard links


def test_a_hard_link_leads_through_links_and_layers_to_its_file(stack: Stack) -> None:
    view = stack(
        [file("Files/a", b"the base", attributes=0x21)],
        [link("Files/b", "Files/a"), link("Files/c", "Files/b")],
        [link("Files/d", "FILES/C"), link("Files/e", "Files/d")],
    )
    for name in "abcde":
        assert data_of(view, f"Files/{name}") == b"the base"
    about = describe(view, view.find("Files/e"))
    assert about.hard_link == {"target": "Files/d", "file": "Files/a", "layer": 0, "missing": None}
    assert (about.kind, about.size, about.attributes) == ("hardlink", 8, 0x21)


def test_a_hard_link_has_all_that_its_file_has(stack: Stack) -> None:
    view = stack(
        [file("Files/a", b"x", security_descriptor=b"\1" * 20, creation_time=5), stream("Files/a", "s", b"stream")],
        [link("Files/b", "Files/a")],
    )
    linked, original = view.find("Files/b"), view.find("Files/a")
    assert view.metadata(linked) == view.metadata(original)
    assert [stream.name for _, stream in view.streams(linked)] == [":s:$DATA"]


def test_the_file_of_a_hard_link_may_be_deleted_or_replaced_under_its_own_name(stack: Stack) -> None:
    view = stack(
        [file("Files/a", b"first")],
        [gone("Files/a"), link("Files/b", "Files/a")],
        [file("Files/a", b"second")],
    )
    assert data_of(view, "Files/b") == b"first"
    assert data_of(view, "Files/a") == b"second"


def test_a_hard_link_named_like_its_target_means_the_file_of_a_parent(stack: Stack) -> None:
    view = stack([file("Files/a", b"below")], [link("Files/a", "Files/a")])
    assert data_of(view, "Files/a") == b"below"


def test_a_hard_link_to_nothing_is_shown_and_cannot_be_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    reference = make_image(tmp_path_factory.mktemp("layout"), [link("Files/b", "Files/nowhere"), file("Files/c")])
    with open_view(reference) as view:
        rows = [list_row(view, found) for found in view.children(view.find("Files"))]
        assert [(row.kind, row.size, row.target) for row in rows] == [
            ("hardlink", None, "Files/nowhere"),
            ("file", 0, None),
        ]
        hard_link = describe(view, view.find("Files/b")).hard_link
        assert hard_link is not None
        assert "in no layer" in hard_link["missing"]
        with pytest.raises(UnsafeEntryError, match="in no layer"):
            data_of(view, "Files/b")


@pytest.mark.parametrize("items", [[folder("Files/t")], [symlink("Files/t", "x")]], ids=["folder", "symlink"])
def test_a_hard_link_to_what_is_no_file_of_a_parent_is_refused(
    items: list[LayerItem], tmp_path_factory: pytest.TempPathFactory
) -> None:
    layout = tmp_path_factory.mktemp("layout")
    reference = make_image(layout, items, [link("Files/l", "Files/t")])
    with open_view(reference) as view, pytest.raises(UnsafeEntryError, match=r"a hard link to Files/t, which is a"):
        data_of(view, "Files/l")


# ----------------------------------------------------------------------------------------- symbolic links and junctions


@pytest.mark.parametrize(
    "target",
    [
        "..\\target",
        ".\\..\\.\\TARGET",
        "\\target",
        "/target",
        "C:\\target",
        "c:/target",
        "\\\\?\\C:\\target",
        "\\??\\C:\\target",
        "\\\\.\\C:\\target",
        "..\\..\\..\\target",
    ],
)
def test_every_way_to_write_a_target_leads_there(target: str, stack: Stack) -> None:
    view = stack([file("Files/target", b"here")], [symlink("Files/d/link", target)])
    assert data_of(view, "Files/d/link") == b"here"
    assert view.find("Files/d/link").path == "Files/target"
    assert kind_of(view, view.find("Files/d/link", follow=False)) == "symlink"


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("\\\\server\\share\\x", "outside of any image"),
        ("\\\\?\\UNC\\server\\share", "outside of any image"),
        ("\\\\?\\Volume{01234567-0000-0000-0000-100000000000}\\x", "outside of any image"),
        ("\\??\\Volume{01234567-0000-0000-0000-100000000000}\\", "outside of any image"),
        ("D:\\x", "only drive C"),
        ("nowhere", "there is no"),
    ],
)
def test_a_link_out_of_the_image_is_shown_and_leads_nowhere(target: str, why: str, stack: Stack) -> None:
    view = stack([junction("Files/link", target)])
    assert list_row(view, view.find("Files/link", follow=False)).kind == "junction"
    with pytest.raises(NotFoundError, match=why):
        view.find("Files/link")
    with pytest.raises(NotFoundError, match=why):
        view.find("Files/link/below")


def test_links_lead_through_layers_and_other_links(stack: Stack) -> None:
    view = stack(
        [*folders("Files/Users", "Files/Users/me"), file("Files/Users/me/x", b"x")],
        [junction("Files/Documents and Settings", "C:\\Users"), symlink("Files/me", "Documents and Settings\\me")],
        [symlink("Files/file", "\\ME\\X")],
    )
    assert view.find("Files/me/x").path == "Files/Users/me/x"
    assert data_of(view, "Files/file") == b"x"


def test_links_in_a_circle_end(stack: Stack) -> None:
    view = stack([symlink("Files/a", "b"), symlink("Files/b", "a"), symlink("Files/self", "self\\x")])
    for path in ("Files/a", "Files/b/x", "Files/self"):
        with pytest.raises(NotFoundError, match="more than 63 links"):
            view.find(path)


def test_a_chain_of_63_links_is_followed_one_of_64_is_not(stack: Stack) -> None:
    items = [symlink(f"Files/{number}", f"{number + 1}") for number in range(64)]
    view = stack([*items, file("Files/64", b"end")])
    assert data_of(view, "Files/1") == b"end"
    with pytest.raises(NotFoundError, match="more than 63 links"):
        view.find("Files/0")


def test_a_link_in_the_utility_vm_stays_in_it(stack: Stack) -> None:
    vm = "UtilityVM/Files"
    links = [symlink(f"{vm}/d/{number}", target) for number, target in enumerate(("\\t", "C:\\t", "..\\..\\..\\t"))]
    view = stack([file(f"{vm}/t", b"of the utility VM"), file("Files/t", b"of the container"), *links])
    for number in range(3):
        assert data_of(view, f"{vm}/d/{number}") == b"of the utility VM"


def test_a_nearer_folder_over_a_link_hides_it_and_the_other_way_round(stack: Stack) -> None:
    base = [junction("Files/a", "C:\\t"), *folders("Files/b", "Files/t"), file("Files/b/x"), file("Files/t/y")]
    view = stack(base, [folder("Files/a"), file("Files/a/z"), junction("Files/b", "C:\\t")])
    assert paths(view, "Files") == ["Files/a", "Files/a/z", "Files/b", "Files/t", "Files/t/y"]
    assert view.find("Files/b/y").path == "Files/t/y"


# ---------------------------------------------------------------------------------------------------- alternate streams


def test_streams_of_a_folder_are_those_of_its_nearest_entry(stack: Stack) -> None:
    view = stack(
        [folder("Files/d"), stream("Files/d", "old", b"1")],
        [folder("Files/d", attributes=0x12), stream("Files/d", "new", b"2")],
        [file("Files/d/x")],
    )
    about = describe(view, view.find("Files/d"))
    assert [(stream["name"], stream["layer"]) for stream in about.streams] == [(":new:$DATA", 1)]
    assert about.attributes == 0x12
    assert [layer["number"] for layer in about.layers] == [2, 1, 0]


def test_a_replaced_file_loses_its_streams(stack: Stack) -> None:
    view = stack([file("Files/a"), stream("Files/a", "s", b"1")], [file("Files/a")])
    assert view.streams(view.find("Files/a")) == []


# ------------------------------------------------------------------------------------------------------------ one layer


def test_a_single_layer_shows_what_it_deletes_and_resolves_its_hard_links(stack: Stack) -> None:
    view = stack(
        [file("Files/a", b"data"), file("Files/x")],
        [link("Files/b", "Files/a"), gone("Files/x"), gone("Files/only/here")],
        [file("Files/c")],
        layer=1,
    )
    rows = [list_row(view, found) for found in view.walk(view.root)]
    assert [(row.path, row.kind, row.layer) for row in rows] == [
        ("Files", "directory", 1),
        ("Files/b", "hardlink", 1),
        ("Files/only", "directory", 1),
        ("Files/only/here", "deleted", 1),
        ("Files/x", "deleted", 1),
    ]
    assert data_of(view, "Files/b") == b"data"
    assert describe(view, view.find("Files/x")).kind == "deleted"
    with pytest.raises(NotFoundError, match="deletes"):
        data_of(view, "Files/x")
    with pytest.raises(NotFoundError):
        view.find("Files/a")


def test_an_error_names_the_image(stack: Stack) -> None:
    view = stack([file("Files/a")])
    with pytest.raises(NotFoundError) as caught, view:
        view.find("Files/b")
    assert caught.value.image == view.reference
