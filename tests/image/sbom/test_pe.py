"""What programs say of themselves is read as others read it, and nothing that a file says leads out of it."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import pip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.image.sbom.programs import ARM64, program
from wclayer.errors import FormatError
from wclayer.image.sbom.pe import PeFacts, read_pe

pefile = pytest.importorskip("pefile", reason="pefile, the peer, is not installed")

STRINGS = {"CompanyName": "Example Corp", "ProductName": "Grüße 日本", "FileVersion": "1.2 (x)", "FileDescription": ""}
LAUNCHERS = sorted(Path(pip.__file__).parent.rglob("*.exe"))


def read(data: bytes) -> PeFacts | None:
    return read_pe(io.BytesIO(data), len(data))


def by_peer(data: bytes) -> tuple[str, dict[str, str]]:
    """The fixed version and the strings as pefile has them."""
    peer = pefile.PE(data=data)
    fixed = peer.VS_FIXEDFILEINFO[0] if hasattr(peer, "VS_FIXEDFILEINFO") else None
    numbers = (
        ""
        if fixed is None
        else ".".join(
            str(part) for whole in (fixed.FileVersionMS, fixed.FileVersionLS) for part in (whole >> 16, whole & 0xFFFF)
        )
    )
    strings = {
        key.decode(): value.decode()
        for info in getattr(peer, "FileInfo", [])
        for block in info
        if block.Key.rstrip(b"\0") == b"StringFileInfo"
        for table in block.StringTable
        for key, value in table.entries.items()
    }
    return numbers, strings


@pytest.mark.parametrize("path", LAUNCHERS, ids=lambda path: path.name)
def test_real_programs_are_read_as_pefile_reads_them(path: Path) -> None:
    data = path.read_bytes()
    facts = read(data)
    assert facts is not None
    assert facts.has_version
    assert (facts.file_version, facts.strings) == by_peer(data)
    assert (
        facts.machine == {"arm": "arm64", "32": "386", "64": "amd64"}["arm" if "arm" in path.stem else path.stem[-2:]]
    )


def test_there_are_real_programs_to_read() -> None:
    assert len(LAUNCHERS) >= 4


def test_everything_a_program_says_is_found() -> None:
    data = program(STRINGS, (10, 0, 20348, 2322), signed=True)
    facts = read(data)
    assert facts == PeFacts("amd64", "10.0.20348.2322", "10.0.20348.2322", STRINGS, has_signature=True)
    assert by_peer(data) == ("10.0.20348.2322", STRINGS)


def test_a_program_without_resources_has_no_version_and_is_a_program() -> None:
    facts = read(program(machine=ARM64))
    assert facts == PeFacts("arm64", "", "", {}, has_signature=False)
    assert not facts.has_version


def test_a_signature_is_one_only_if_it_is_there() -> None:
    data = bytearray(program(STRINGS, signed=True))
    assert read(bytes(data[:-24])) == PeFacts("amd64", "", "", STRINGS, has_signature=False)  # cut off
    data[-18:-16] = b"\1\0"  # X.509 instead of PKCS #7
    assert read(bytes(data)) == PeFacts("amd64", "", "", STRINGS, has_signature=False)


@pytest.mark.parametrize("data", [b"", b"MZ", b"MZ" + b"\0" * 100, b"\x7fELF" + b"\0" * 100, b"MZ" + b"\xff" * 100])
def test_what_is_no_program_is_none(data: bytes) -> None:
    assert read(data) is None


def test_the_language_of_choice_is_english() -> None:
    facts = read(program(STRINGS, language="040704b0"))
    assert facts is not None
    assert facts.strings == STRINGS


def test_a_resource_section_that_leads_outside_is_an_error() -> None:
    data = bytearray(program(STRINGS))
    place = data.index(b".rsrc")
    data[place + 20 : place + 24] = b"\0\0\0\x70"
    with pytest.raises(FormatError, match="outside of its"):
        read(bytes(data))


def test_ten_thousand_damaged_programs_end_in_facts_or_an_error() -> None:
    whole = program(STRINGS, (1, 2, 3, 4), signed=True)
    chance = random.Random(7)
    ends = {"facts": 0, "error": 0, "none": 0}
    for _ in range(10_000):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        try:
            ends["none" if read(bytes(data)) is None else "facts"] += 1
        except FormatError:
            ends["error"] += 1
    assert min(ends.values()) > 0, ends


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
        .map(str.strip)
        .filter(bool),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30).map(str.strip),
        min_size=1,
        max_size=6,
    )
)
def test_any_strings_come_back(strings: dict[str, str]) -> None:
    facts = read(program(strings, (1, 0, 0, 0)))
    assert facts is not None
    assert facts.strings == strings


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=2000), st.integers(0, 1500))
def test_random_bytes_in_a_program_never_do_harm(noise: bytes, place: int) -> None:
    data = bytearray(program(STRINGS, (1, 2, 3, 4)))
    data[place : place + len(noise)] = noise
    with contextlib.suppress(FormatError):
        assert read(bytes(data)) is None or data[:2] == b"MZ"
