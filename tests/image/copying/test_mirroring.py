"""A list of images kept at another place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.copying.places import Places, contents, foreign_image, root_digest, windows_index
from tests.oci.samples import WINDOWS, layer_tar, write_image
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.copying import CopyOptions, copy_image
from wclayer.image.copying.mirror_list import MirrorEntry, parse_mirror_list, read_mirror_list
from wclayer.image.copying.mirroring import mirror

PLAIN = """
# the images we need
docker://example.com/a:1
example.com/b:2   registry.local/b:2   # elsewhere
\t
oci:layout#1:t oci:other:t
"""


def test_plain_lines() -> None:
    wanted = parse_mirror_list(PLAIN, "list.txt", is_toml=False)
    assert wanted.to is None
    assert wanted.entries == (
        MirrorEntry("docker://example.com/a:1", None, "list.txt, line 3"),
        MirrorEntry("example.com/b:2", "registry.local/b:2", "list.txt, line 4"),
        MirrorEntry("oci:layout#1:t", "oci:other:t", "list.txt, line 6"),
    )


def test_tables_with_what_holds_for_all() -> None:
    wanted = parse_mirror_list(
        """
        to = "registry.local/mirror"
        platforms = ["ltsc2022"]
        foreign = "rewrite"
        [[image]]
        source = "example.com/a:1"
        [[image]]
        source = "example.com/b:1"
        destination = "oci:x:t"
        all-platforms = true
        foreign = "keep"
        [[image]]
        source = "example.com/c"
        platforms = ["ltsc2019", "linux/amd64"]
        tags = "1\\\\.[0-9]+"
        """,
        "list.toml",
        is_toml=True,
    )
    assert wanted.to == "registry.local/mirror"
    a, b, c = wanted.entries
    assert (a.platforms, a.all_platforms, a.foreign, a.destination) == (("ltsc2022",), False, "rewrite", None)
    assert (b.platforms, b.all_platforms, b.foreign, b.destination) == ((), True, "keep", "oci:x:t")
    assert c.platforms == ("ltsc2019", "linux/amd64")
    assert c.tags is not None
    assert c.tags.fullmatch("1.20")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image = 1", "image"),
        ("[[image]]", "no source"),
        ('[[image]]\nsource = "a"\nplatform = "x"', "platform is not known"),
        ('[[image]]\nsource = "a"\nforeign = "drop"', "keep, fetch"),
        ('[[image]]\nsource = "a"\ntags = "("', "regular expression"),
        ('[[image]]\nsource = "a"\ntags = "1"\ndestination = "b"', "one destination"),
        ('[[image]]\nsource = "a"\nplatforms = "x"', "list"),
        ("to = 1", "text"),
        ("= 1", "TOML"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_mirror_list(text, "list.toml", is_toml=True)
    assert "list.toml" in str(caught.value)


def test_a_line_of_three_words_is_refused() -> None:
    with pytest.raises(UsageError, match="line 2"):
        parse_mirror_list("a b\na b c", "list", is_toml=False)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_mirror_list(tmp_path / "none")


# ------------------------------------------------------------------------------------------------------- at work


@pytest.fixture
def names(places: Places) -> list[str]:
    """An image and an index in a registry."""
    write_image(places.folder / "a", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    windows_index(places.folder / "b")
    found = [places.new("registry"), places.new("registry")]
    copy_image(f"oci:{places.folder / 'a'}:t", found[0])
    copy_image(f"oci:{places.folder / 'b'}:all", found[1], CopyOptions(all_platforms=True))
    return [name.removeprefix("docker://") for name in found]


def test_a_failure_stops_only_its_own_image_and_the_next_run_has_less_to_do(names: list[str], places: Places) -> None:
    layout = places.folder / "mirror"
    missing = f"{places.host}/tests/nowhere:1"
    text = f"{names[0]}\n{missing}\n{names[1]} oci:{layout}:own\n"
    wanted = parse_mirror_list(text, "list", is_toml=False)
    told: list[str] = []
    report = mirror(wanted, to=f"oci:{layout}", told=lambda image: told.append(image.status))
    assert [image.status for image in report.images] == told == ["copied", "failed", "copied"]
    assert report.exit_code == 3
    assert report.images[1].error is not None
    assert "tests/nowhere" in str(report.images[1].error)
    assert root_digest(f"oci:{layout}:{names[0]}") == root_digest(names[0])
    assert list(contents(f"oci:{layout}:own")) == ["10.0.26100.1742"]
    again = mirror(wanted, to=f"oci:{layout}")
    assert [image.status for image in again.images] == ["present", "failed", "present"]
    assert [image.result.moved for image in again.images if image.result] == [0, 0]


def test_a_mirror_in_a_registry_keeps_names_below_a_path(names: list[str], places: Places) -> None:
    prefix = f"{places.host}/mirrored/{places.repository.rpartition('/')[2]}"
    wanted = parse_mirror_list("\n".join(names), "list", is_toml=False)
    report = mirror(wanted, CopyOptions(all_platforms=True, preserve_digests=True), to=prefix)
    assert report.exit_code == 0
    for image, name in zip(report.images, names, strict=True):
        assert image.destination == f"docker://{prefix}/{name.partition('/')[2]}"
        assert root_digest(image.destination) == root_digest(name)
    outcomes = {blob.outcome for image in report.images if image.result for blob in image.result.blobs}
    assert outcomes == {"mounted"}


def test_a_mirror_follows_a_tag_that_moved(names: list[str], places: Places) -> None:
    layout = places.folder / "mirror"
    wanted = parse_mirror_list(names[0], "list", is_toml=False)
    first = mirror(wanted, to=f"oci:{layout}").images[0]
    write_image(places.folder / "new", [layer_tar("new")], name="t", entry_platform=WINDOWS)
    copy_image(f"oci:{places.folder / 'new'}:t", f"docker://{names[0]}")
    second = mirror(wanted, to=f"oci:{layout}").images[0]
    assert (first.status, second.status) == ("copied", "copied")
    assert root_digest(f"oci:{layout}:{names[0]}") == root_digest(f"oci:{places.folder / 'new'}:t")


def test_tags_are_chosen_by_an_expression(places: Places) -> None:
    repository = f"{places.host}/{places.repository}"
    write_image(places.folder / "a", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    for tag in ("ltsc2019", "ltsc2022", "ltsc2022-old", "latest"):
        copy_image(f"oci:{places.folder / 'a'}:t", f"docker://{repository}:{tag}")
    layout = places.folder / "mirror"
    text = f'to = "oci:{layout}"\n[[image]]\nsource = "{repository}"\ntags = "ltsc20(19|22)"'
    report = mirror(parse_mirror_list(text, "list.toml", is_toml=True))
    assert [image.source for image in report.images] == [
        f"docker://{repository}:ltsc2019",
        f"docker://{repository}:ltsc2022",
    ]
    assert report.exit_code == 0
    none = mirror(parse_mirror_list(text.replace("ltsc20(19|22)", "nothing"), "list.toml", is_toml=True))
    assert (none.images[0].status, none.exit_code) == ("failed", 2)


def test_platforms_and_policies_of_the_list_come_before_those_of_the_call(names: list[str], places: Places) -> None:
    layout = places.folder / "mirror"
    foreign_image(places.folder / "f")
    text = f"""
        [[image]]
        source = "{names[1]}"
        destination = "oci:{layout}:some"
        platforms = ["ltsc2019", "ltsc2022"]
        [[image]]
        source = "{names[1]}"
        destination = "oci:{layout}:one"
        [[image]]
        source = "oci:{places.folder / "f"}:foreign"
        destination = "oci:{layout}:foreign"
        foreign = "strip"
        """
    report = mirror(
        parse_mirror_list(text, "list.toml", is_toml=True), CopyOptions(platforms=("windows/amd64",), foreign="keep")
    )
    assert report.exit_code == 0
    assert sorted(contents(f"oci:{layout}:some")) == ["10.0.17763.6414", "10.0.20348.3091"]
    assert list(contents(f"oci:{layout}:one")) == ["10.0.26100.1742"]
    assert len(contents(f"oci:{layout}:foreign")["10.0.20348.2700"]) == 3


def test_an_image_without_any_destination_is_refused_before_anything_is_copied(
    names: list[str], places: Places
) -> None:
    layout = places.folder / "mirror"
    wanted = parse_mirror_list(f"{names[0]} oci:{layout}:t\n{names[1]}", "list", is_toml=False)
    with pytest.raises(UsageError, match=r"line 2.*no destination"):
        mirror(wanted)
    assert not layout.exists()


def test_a_dry_run_plans_and_writes_nothing(names: list[str], places: Places) -> None:
    layout = places.folder / "mirror"
    wanted = parse_mirror_list("\n".join(names), "list", is_toml=False)
    report = mirror(wanted, CopyOptions(dry_run=True), to=f"oci:{layout}")
    assert [image.status for image in report.images] == ["planned", "planned"]
    assert not layout.exists()
