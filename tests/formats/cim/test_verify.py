"""Sound images of every generation have nothing wrong with them, and what is found is told once, with its weight."""

from __future__ import annotations

import re
import struct
import uuid
from pathlib import Path

import pytest

from tests.formats.cim.images import (
    DATA,
    GUID,
    SMALL,
    Builder,
    Node,
    Stream,
    build,
    file,
    folder,
    rich,
)
from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.cim.findings import CODES, Finding, Report
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim

OTHER = uuid.UUID("99999999-8888-4777-8666-555555555555")
ROOT = Path(__file__).parents[3]


def codes(path: Path) -> list[str]:
    return [finding.code for finding in verify_cim(path)]


@pytest.mark.parametrize(("major", "entry_size"), [(2, 96), (3, 96), (3, 104)])
@pytest.mark.parametrize("kind", [SMALL, DATA])
@pytest.mark.parametrize("order", [True, False])
def test_a_sound_image_has_nothing_wrong(
    tmp_path: Path, major: int, entry_size: int, kind: int, *, order: bool
) -> None:
    root = rich(1100)
    del root.children["\uff21"]  # type: ignore[union-attr]
    del root.children["counted"]  # type: ignore[union-attr]
    path = build(tmp_path, root, major=major, entry_size=entry_size, data_kind=kind, region_order=order)
    assert verify_cim(path) == []


def test_a_sound_image_of_version_1_is_checked_on_request(tmp_path: Path) -> None:
    path = build(tmp_path, folder({"d": folder({"f": file(b"x")})}), major=1, entry_size=88)
    assert verify_cim(path, version_1=True) == []
    assert codes(path) == ["unsupported"]


def test_an_open_image_is_checked_and_stays_open(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"f": file(b"x", sd=None)}))) as image:
        assert [finding.code for finding in verify_cim(image)] == ["sd-missing"]
        assert image.root.is_directory


def test_a_child_is_checked_with_the_regions_of_its_parent(tmp_path: Path) -> None:
    build(tmp_path, folder({"f": file(b"base")}), guid=OTHER)

    class Child(Builder):
        def put_data(self, data: bytes) -> int:
            return 1 << 48 | 40 if data == b"base" else super().put_data(data)

    root = folder({"f": file(b"base"), "g": file(b"own")})
    child = Child(parents=((OTHER, 2),)).build(tmp_path, root, "child.cim")
    assert verify_cim(child) == []
    (tmp_path / f"objectid_{OTHER}_0").unlink()
    assert verify_cim(child) == []
    (tmp_path / f"region_{OTHER}_1").unlink()
    assert codes(child) == ["region-missing"]


def test_a_missing_image_is_no_finding(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        verify_cim(tmp_path / "none.cim")
    path = build(tmp_path, folder())
    region = tmp_path / f"region_{GUID}_1"
    region.unlink()
    region.mkdir()
    with pytest.raises(StoreError):
        verify_cim(path)


def test_both_orders_of_names_are_looked_at(tmp_path: Path) -> None:
    names = ["\uff21", "\U0001f600"]

    class ByCodePoints(Builder):
        def ordered(self, children: dict[str, Node]) -> list[tuple[str, Node]]:
            return sorted(children.items())

    class Backwards(Builder):
        def ordered(self, children: dict[str, Node]) -> list[tuple[str, Node]]:
            return sorted(children.items(), reverse=True)

    assert codes(build(tmp_path, folder({name: file() for name in names}))) == ["order-code-points"]
    root = folder({name: file() for name in names})
    assert codes(ByCodePoints().build(tmp_path, root)) == ["order-units"]
    backwards = Backwards().build(tmp_path, folder({name: file() for name in "abc"}))
    assert verify_cim(backwards) == [
        Finding("error", "name-order", "", "name: the names are not sorted"),
        *(Finding("error", "name-lost", "", f"name: a search does not find '{name}'") for name in "cba"),
    ]


def test_names_of_streams_are_checked_as_those_of_files(tmp_path: Path) -> None:
    streams = {"a:b": Stream(b"1"), "ok": Stream(b"2")}
    path = build(tmp_path, folder({"f": file(streams=streams), "what?": file()}))
    found = verify_cim(path)
    assert [(finding.code, finding.path) for finding in found] == [("name-win32", ""), ("name", "f")]


def test_a_hard_link_may_lie_in_any_of_its_folders(tmp_path: Path) -> None:
    shared = file(b"x")
    root = folder({"a": folder({"f": shared}), "b": folder({"g": shared}), "h": shared})
    assert verify_cim(build(tmp_path, root)) == []
    shared = file(b"x", parent_id=5)
    assert verify_cim(build(tmp_path, folder({"a": folder({"f": shared}), "b": folder({"g": shared})}))) == [
        Finding("warning", "parent-id", "a/f", "the parent in the record does not hold the file")
    ]


def test_a_folder_with_two_names_is_entered_once(tmp_path: Path) -> None:
    # 40 folders, each of which has two names for the next: 2**40 paths for whoever does not remember.
    inner = folder({"f": file(sd=None)})
    for _ in range(40):
        inner = folder({"a": inner, "b": inner})
    found = verify_cim(build(tmp_path, inner))
    assert [finding.code for finding in found].count("folder-twice") == 40
    assert [finding.code for finding in found].count("sd-missing") == 1


def test_a_chain_of_folders_as_deep_as_it_can_be_is_checked_to_its_end(tmp_path: Path) -> None:
    inner = folder({"f": file(sd=None)})
    for _ in range(5000):
        inner = folder({"d": inner})
    assert [(finding.code, len(finding.path)) for finding in verify_cim(build(tmp_path, inner))] == [
        ("sd-missing", 2 * 5000 + 1)
    ]


def test_a_path_longer_than_windows_allows_is_told(tmp_path: Path) -> None:
    inner = folder({"f": file()})
    for _ in range(140):
        inner = folder({"n" * 255: inner})
    found = verify_cim(build(tmp_path, inner))
    assert ("warning", "path-length") in [finding[:2] for finding in found]
    assert {finding.code for finding in found} == {"path-length", "unreachable"}


def test_tables_before_the_last_must_be_full(tmp_path: Path) -> None:
    builder = Builder()
    path = builder.build(tmp_path, folder({f"{number:04}": file() for number in range(1100)}))
    with (tmp_path / f"region_{GUID}_0").open("r+b") as region:
        region.seek(builder.objects["tables"] + 8)
        region.write(struct.pack("<H", 1000))
    assert set(codes(path)) == {"file-table", "file-id"}


def test_records_of_several_sizes_are_told(tmp_path: Path) -> None:
    assert codes(build(tmp_path, folder(), entry_size=100)) == ["entry-size-odd"]
    assert codes(build(tmp_path, folder(), entry_size=104, major=2)) == ["entry-size-odd"]
    assert codes(build(tmp_path, folder(), entry_size=105)) == ["entry-size"]
    assert codes(build(tmp_path, folder(tail=b"\1"), entry_size=104)) == ["tail"]


def test_pe_images_that_are_odd_but_readable_are_told(tmp_path: Path) -> None:
    data = b"0123456789"
    back = Stream(data, mappings=((0, 8), (5, 0)), expanded=data + data)
    assert codes(build(tmp_path, folder({"f": Node(back)}))) == ["pe-image-odd"]


def test_of_each_kind_the_first_hundred_are_listed_and_the_rest_counted(tmp_path: Path) -> None:
    found = verify_cim(build(tmp_path, folder({f"{number:03}": file(flags=0x40) for number in range(250)})))
    assert [finding.code for finding in found] == ["flags"] * 101
    assert found[0] == Finding("warning", "flags", "000", "flags 0x0040")
    assert found[-1] == Finding("warning", "flags", "", "150 more of these are not listed")


def test_every_code_has_a_severity_and_is_given_somewhere() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "src/wclayer/formats/cim").glob("*.py"))
    used = {name.removeprefix("cim-") for name in re.findall(r'"([a-z0-9-]+)"', source.partition("CODES")[2])}
    for code, (severity, meaning) in CODES.items():
        assert severity in ("error", "warning", "note")
        assert meaning
        assert source.count(f'"{code}"') + source.count(f'"cim-{code}"') >= (1 if code in ("unsupported",) else 2), code
    assert used >= set(CODES)


def test_every_code_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/cim-findings.md").read_text("utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \| (.*) \|$", page, re.MULTILINE)
    assert listed == [(code, severity, meaning) for code, (severity, meaning) in CODES.items()]


def test_a_report_gives_what_it_was_given() -> None:
    report = Report(keep=2)
    for number in range(5):
        report.add("time", f"f{number}", "t")
    report.add("tail", "g", "u")
    assert report.findings() == [
        Finding("warning", "time", "f0", "t"),
        Finding("warning", "time", "f1", "t"),
        Finding("note", "tail", "g", "u"),
        Finding("warning", "time", "", "3 more of these are not listed"),
    ]
