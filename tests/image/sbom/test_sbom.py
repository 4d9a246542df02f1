"""A bill of materials names what an image holds and which layer brought it, as the tools of each format want it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from tests.image.registry.windows_images import (
    WindowsBuilder,
    application,
    install_application,
    patch,
    remove_application,
    server_core,
)
from tests.image.sbom.programs import program
from wclayer.errors import FormatError
from wclayer.image.sbom import Bill, Component, Inventory, SbomFormat, sbom
from wclayer.image.sbom.collecting import Collector
from wclayer.image.unpack import unpack
from wclayer.image.view import Consume, Found
from wclayer.model import Stream

if TYPE_CHECKING:
    from wclayer.image.view import View

TOOL = program({"CompanyName": "Example (GmbH) <x>", "ProductName": "Tool"}, (1, 2, 3, 4), signed=True)
SYSTEM32 = "Files/Windows/System32"


def built() -> WindowsBuilder:
    """A base, a patch that replaces a file, an application with packages, and its removal from the registry."""
    windows = server_core(commit=False)
    windows.commit(
        {
            f"{SYSTEM32}/kernel32.dll": program({"CompanyName": "Microsoft Corporation"}, (10, 0, 20348, 2227)),
            f"{SYSTEM32}/ntdll.dll": program({"CompanyName": "Microsoft Corporation"}, (10, 0, 20348, 1)),
            f"{SYSTEM32}/no-version.exe": program(),
            f"{SYSTEM32}/damaged.exe": TOOL[:0x300] + b"\xff" * 40,
            f"{SYSTEM32}/text.dll": b"MZ is how this text begins, and it goes on for more than sixty-four bytes.",
        }
    )
    patch(windows, commit=False)
    windows.commit({f"{SYSTEM32}/kernel32.dll": program({"CompanyName": "M"}, (10, 0, 20348, 2322))})
    install_application(windows, commit=False)
    application(windows, "odd", "Odd \ud800 name\n(x)", "1", "Odd (Company) [x@y]")
    windows.commit(
        {
            "Files/app/large.bin": b"no program" * 300_000,
            "Files/app/tool": TOOL,
            "Files/app/app.deps.json": b'{"libraries": {"Serilog/2.12.0": {"type": "package"}}}',
            "Files/app/node_modules/left-pad/package.json": b'{"name":"left-pad","version":"1.3.0","license":"WTFPL"}',
            "Files/py/foo.dist-info/METADATA": b"Name: Foo\nVersion: 1\nLicense: as you like it\n\n",
            "Files/app/packages.config": b"<packages>",
        }
    )
    remove_application(windows)
    return windows


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    return built().image(tmp_path_factory.mktemp("sbom") / "layout", os_version="10.0.20348.2322")


@pytest.fixture(scope="module")
def bill(image: str) -> Iterator[Bill]:
    with sbom(image) as found:
        yield found


def text(bill: Bill, form: SbomFormat) -> str:
    return "".join(bill.pieces(form))


def cyclonedx(bill: Bill) -> dict[str, dict[str, Any]]:
    """The components of the CycloneDX document by name, with their properties as a mapping."""
    found = {}
    for component in json.loads(text(bill, "cyclonedx-json"))["components"]:
        properties = {one["name"]: one["value"] for one in component["properties"]}
        found[component["name"]] = {**component, "properties": properties}
    return found


def test_cyclonedx_passes_the_validator_of_its_project(bill: Bill) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text(bill, "cyclonedx-json")) is None


def test_spdx_passes_the_validator_of_its_project(bill: Bill, tmp_path: Path) -> None:
    path = tmp_path / "image.spdx.json"
    path.write_text(text(bill, "spdx-json"))
    document = parse_file(str(path))
    assert validate_full_spdx_document(document) == []
    assert len(document.packages) == sum(bill.counts.values()) + 1
    assert len(document.annotations) == len(document.packages)
    assert len(document.relationships) == len(document.packages)


def test_every_component_says_which_layer_brought_it(bill: Bill) -> None:
    found = cyclonedx(bill)
    layers = {name: one["properties"]["wclayer:layer:number"] for name, one in found.items()}
    assert layers == {
        "Windows Server 2022 Datacenter": "1",
        "KB5034129": "0",
        "KB5034770": "1",
        "RollupFix": "1",
        "ServicingStack_2200": "0",
        "Example Tool (x86)": "2",
        "Odd \ufffd name (x)": "2",
        ".NET Framework 4.8": "0",
        "Internet Information Services": "2",
        "Serilog": "2",
        "left-pad": "2",
        "Foo": "2",
        "kernel32.dll": "1",
        "ntdll.dll": "0",
        "tool": "2",
    }
    diff_ids = bill.subject.layers
    assert all(one["properties"]["wclayer:layer:diff-id"] == diff_ids[int(layers[name])] for name, one in found.items())


def test_windows_is_the_patched_one_with_a_name_that_databases_know(bill: Bill) -> None:
    windows = cyclonedx(bill)["Windows Server 2022 Datacenter"]
    assert windows["type"] == "operating-system"
    assert windows["version"] == "10.0.20348.2322"
    assert windows["cpe"] == "cpe:2.3:o:microsoft:windows_server_2022:10.0.20348.2322:*:*:*:*:*:x64:*"


def test_what_a_layer_deleted_is_not_in_it(bill: Bill) -> None:
    assert "Example Runtime" not in text(bill, "cyclonedx-json")


def test_programs_have_version_company_hash_and_whether_they_are_signed(bill: Bill) -> None:
    found = cyclonedx(bill)
    tool = found["tool"]
    assert (tool["version"], tool["publisher"]) == ("1.2.3.4", "Example (GmbH) <x>")
    assert tool["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(TOOL).hexdigest()}]
    assert tool["properties"]["wclayer:signature"] == "embedded"
    assert tool["properties"]["wclayer:path"] == "Files/app/tool"
    assert found["kernel32.dll"]["version"] == "10.0.20348.2322"
    assert found["kernel32.dll"]["properties"]["wclayer:signature"] == "none"
    assert bill.programs == 4  # one of them without a version


def test_packages_have_their_urls_and_licences(bill: Bill) -> None:
    found = cyclonedx(bill)
    assert found["Serilog"]["purl"] == "pkg:nuget/Serilog@2.12.0"
    assert found["left-pad"]["licenses"][0]["license"]["id"] == "WTFPL"
    assert found["Foo"]["licenses"][0]["license"]["name"] == "as you like it"


def test_what_could_not_be_read_is_said(bill: Bill) -> None:
    notes = "\n".join(bill.subject.notes)
    assert "damaged.exe: a damaged PE file" in notes
    assert "packages.config: no XML" in notes
    assert bill.is_assessed


@pytest.mark.parametrize("form", ["cyclonedx-json", "spdx-json"])
def test_the_same_image_gives_the_same_bytes(image: str, bill: Bill, form: SbomFormat) -> None:
    with sbom(image) as again:
        assert text(again, form) == text(bill, form)


def test_an_unpacked_image_gives_the_same_components(image: str, bill: Bill, tmp_path: Path) -> None:
    unpack(image, tmp_path / "out")
    with sbom(str(tmp_path / "out")) as unpacked:
        assert list(unpacked.inventory) == list(bill.inventory)
        assert unpacked.subject.layers == bill.subject.layers


def test_the_time_is_that_of_the_environment(image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    with sbom(image) as found:
        assert '"2023-11-14T22:13:20+00:00"' in text(found, "cyclonedx-json")
        assert '"2023-11-14T22:13:20Z"' in text(found, "spdx-json")


def test_an_image_without_a_registry_is_not_assessed_and_says_so(tmp_path: Path) -> None:
    windows = WindowsBuilder()
    windows.hives = {}
    windows.commit({"Files/app/tool": TOOL})
    with sbom(windows.image(tmp_path / "layout")) as found:
        assert not found.is_assessed
        assert any("the OS is not assessed" in note for note in found.subject.notes)
        assert found.counts["file"] == 1
        assert "the OS is not assessed" in text(found, "spdx-json")


def sparse(size: int, stored: bytes) -> Stream:
    return Stream(size, lambda _stored: iter((stored,)), ((0, len(stored)),))


def test_a_program_that_is_nothing_but_a_hole_is_not_unrolled() -> None:
    with Inventory() as inventory:
        collector = Collector(inventory)
        view = HoleView(sparse(1 << 60, TOOL[:4096]))
        collector.files(cast("View", view))
        assert len(inventory) == 0
        assert collector.notes == (f"C:\\hole.exe: {1 << 60} bytes, {len(TOOL[:4096])} of them stored, are too many",)


def test_an_error_of_the_layer_itself_is_not_taken_for_a_bad_program() -> None:
    def cut_off(_stored: int) -> Iterator[bytes]:
        yield b"MZ"
        raise FormatError("the layer ends here", kind="unexpected-eof")

    with Inventory() as inventory, pytest.raises(FormatError, match="the layer ends here"):
        Collector(inventory).files(cast("View", HoleView(Stream(5000, cut_off))))


class HoleView:
    """A view of one file."""

    def __init__(self, data: Stream) -> None:
        self.data = data

    def find(self, path: str, *, follow: bool) -> Found:  # noqa: ARG002 - the signature of a view
        return Found(path, 0, None, ((0, None),))

    def walk(self, _folder: Found) -> Iterator[Found]:
        yield Found("Files/hole.exe", 0, None)

    def content(self, _found: Found) -> tuple[int, SimpleNamespace]:
        return 0, SimpleNamespace(id=1, size=self.data.size)

    def number(self, layer: int) -> int:
        return layer

    def read(self, wanted: Iterable[tuple[Found, Consume]]) -> None:
        for _, consume in wanted:
            consume(self.data)


def test_an_inventory_gives_components_back_sorted_and_once() -> None:
    with Inventory() as inventory:
        for name in ("b", "a", "b"):
            inventory.add(Component("file", name, "1", 0, path=f"Files/{name}"))
        inventory.add(Component("os", "Windows", "10", 0))
        assert [one.name for one in inventory] == ["Windows", "a", "b"]
        assert len(inventory) == 3
