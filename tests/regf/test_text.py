r"""Registry text is read and written as regedit does it: what it exports comes back, and deletions delete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.regf.trees import NOW, USUAL, any_names, deltas, few_names, trees
from wclayer.errors import FormatError, UnsupportedError, UsageError
from wclayer.regf import HiveKey, HiveValue, diff, first_difference, merge
from wclayer.regf.text import RegSection, delta_of, encode_reg, parse_reg, sections_of, write_reg

MOUNT = "HKEY_LOCAL_MACHINE\\SOFTWARE"

# As regedit of Windows 10 exports it.
EXPORTED = r"""Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Example]
@="the default"
"Text"="C:\\Program Files\\\"x\""
"Number"=dword:0000001f
"Binary"=hex:00,01,02,03,04,05,06,07,08,09,0a,0b,0c,0d,0e,0f,10,11,12,13,14,15,\
  16,17,18,19,1a,1b,1c,1d,1e,1f,20,21,22,23,24,25,26,27,28,29,2a,2b,2c,2d,2e,\
  2f,30,31
"Path"=hex(2):25,00,50,00,25,00,00,00
"List"=hex(7):61,00,00,00,62,00,00,00,00,00
"Large"=hex(b):00,00,00,00,01,00,00,00
"Nothing"=hex(0):
"Empty"=""

[HKEY_LOCAL_MACHINE\SOFTWARE\Example\Sub [1] key]

"""
VALUES = [
    HiveValue.sz("", "the default"),
    HiveValue.sz("Text", 'C:\\Program Files\\"x"'),
    HiveValue.dword("Number", 31),
    HiveValue("Binary", 3, bytes(range(50))),
    HiveValue.expand_sz("Path", "%P%"),
    HiveValue.multi_sz("List", "a", "b"),
    HiveValue.qword("Large", 1 << 32),
    HiveValue("Nothing", 0, b""),
    HiveValue.sz("Empty", ""),
]


def one_value(line: str, header: str = "Windows Registry Editor Version 5.00") -> HiveValue:
    (section,) = parse_reg(f"{header}\n\n[K]\n{line}\n")
    (value,) = section.values
    return value


def test_an_export_is_read_and_written_again_to_the_byte() -> None:
    data = encode_reg(EXPORTED.replace("\n", "\r\n"))
    assert data[:6] == b"\xff\xfeW\0i\0"
    sections = parse_reg(data)
    assert sections == [RegSection(f"{MOUNT}\\Example", False, VALUES), RegSection(f"{MOUNT}\\Example\\Sub [1] key")]
    assert encode_reg(write_reg(sections)) == data


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_in_utf8_is_read_too(encoding: str) -> None:
    assert (
        parse_reg(EXPORTED.replace("default", "ünïcode 日本").encode(encoding))[0].values[0].text()
        == "the ünïcode 日本"
    )


def test_the_old_format_is_read_with_its_western_strings() -> None:
    old = 'REGEDIT4\r\n\r\n[K]\r\n"a"="\xfc"\r\n"b"=hex(2):fc,00\r\n"c"=hex(7):61,00,62,00,00\r\n"d"=hex:fc\r\n'
    values = parse_reg(old.encode("cp1252"))[0].values
    assert values == [
        HiveValue.sz("a", "ü"),
        HiveValue.expand_sz("b", "ü"),
        HiveValue.multi_sz("c", "a", "b"),
        HiveValue("d", 3, b"\xfc"),
    ]


def test_deletions_comments_and_blanks() -> None:
    text = """Windows Registry Editor Version 5.00
; a comment [not a key]
[-HKLM\\Gone]

[HKLM\\Here]   ; behind a key
  "gone" = -
@=-
"n"=dword:7 ; behind a value
"h"=hex:1, 2,\\
   3 ; behind bytes
"""
    assert parse_reg(text) == [
        RegSection("HKLM\\Gone", deleted=True),
        RegSection(
            "HKLM\\Here",
            values=[
                HiveValue.deleted("gone"),
                HiveValue.deleted(""),
                HiveValue.dword("n", 7),
                HiveValue("h", 3, b"\1\2\3"),
            ],
        ),
    ]


def test_a_last_line_needs_no_end() -> None:
    assert one_value('"a"=hex:01,02,').data == b"\1\2"
    assert parse_reg('Windows Registry Editor Version 5.00\n[K]\n"a"=hex:01,\\')[0].values[0].data == b"\1"


def test_types_in_hexadecimal() -> None:
    assert one_value('"a"=hex(ffff0012):01').type == 0xFFFF0012
    assert one_value('"a"=HEX(B):0100000000000000'.replace("0100000000000000", "01,00,00,00,00,00,00,00")).number() == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("Something else\n", 1, "should be"),
        ('Windows Registry Editor Version 5.00\n"a"="b"\n', 2, "neither a key nor a value"),
        ('Windows Registry Editor Version 5.00\n[-K]\n"a"="b"\n', 3, "neither a key nor a value"),
        ("Windows Registry Editor Version 5.00\n\n[K\n", 3, "closing bracket"),
        ("Windows Registry Editor Version 5.00\n[]\n", 2, "names no key"),
        ("Windows Registry Editor Version 5.00\n[a\\\\b]\n", 2, "names no key"),
        ("Windows Registry Editor Version 5.00\n[K] x\n", 2, "behind its end"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a\n', 3, "closing quotation mark"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a" "b"\n', 3, "has no ="),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"=b\n', 3, "no data that is known"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"=dword:123456789\n', 3, "no data that is known"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"="b" c\n', 3, "behind its end"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"=hex:01,0g\n', 3, "no hexadecimal byte"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"=hex:001\n', 3, "no hexadecimal byte"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"=hex:-1\n', 3, "no hexadecimal byte"),
        ('Windows Registry Editor Version 5.00\n[K]\n"a"="C:\\temp"\n', 3, "written twice"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(FormatError, match=f"line {line} of the registry text .*{message}"):
        parse_reg(text)


def test_bytes_of_no_encoding_are_refused() -> None:
    with pytest.raises(FormatError, match="odd number"):
        parse_reg(b"\xff\xfeW")
    with pytest.raises(FormatError, match="neither UTF-16"):
        parse_reg(b"REGEDIT4\n\x81")


plain_names = any_names.filter(lambda name: not set(name) & set("\r\n"))
values = st.builds(HiveValue, plain_names | st.just(""), st.integers(0, 2**32 - 1), st.binary(max_size=60)) | st.builds(
    HiveValue.sz, plain_names, st.text(max_size=20)
)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            RegSection,
            plain_names.map(lambda name: f"K\\{name}"),
            st.just(False),
            st.lists(values | st.builds(HiveValue.deleted, plain_names)),
        )
    )
)
def test_any_section_survives(sections: list[RegSection]) -> None:
    assert parse_reg(encode_reg(write_reg(sections))) == sections


@pytest.mark.parametrize("path", ["", "-", "-HKEY_LOCAL_MACHINE", "K\0"])
def test_a_path_that_means_something_else_is_refused_or_listed(path: str) -> None:
    with pytest.raises(UnsupportedError):
        write_reg([RegSection(path)])
    skipped: list[str] = []
    assert parse_reg(write_reg([RegSection(path), RegSection("K")], skipped=skipped)) == [RegSection("K")]
    assert len(skipped) == 1


def test_lines_are_no_longer_than_those_of_regedit() -> None:
    text = write_reg([RegSection("K", values=[HiveValue("x" * length, 3, bytes(200)) for length in range(60)])])
    assert max(len(line) for line in text.splitlines()) <= 80


@settings(deadline=None)
@given(trees(few_names))
def test_a_tree_is_made_by_its_text(tree: HiveKey) -> None:
    sections = parse_reg(write_reg(sections_of(tree, MOUNT)))
    made = merge([HiveKey("ROOT"), delta_of(sections, MOUNT)])
    assert first_difference(made, bare(tree)) is None


@settings(deadline=None)
@given(trees(), deltas())
def test_a_delta_is_made_by_its_text(base: HiveKey, delta: HiveKey) -> None:
    skipped: list[str] = []
    again = delta_of(parse_reg(write_reg(sections_of(delta, MOUNT, skipped=skipped))), MOUNT)
    if not skipped:
        assert first_difference(bare(merge([base, again])), bare(merge([base, delta]))) is None
    else:
        with pytest.raises(UnsupportedError, match="cannot be said"):
            list(sections_of(delta, MOUNT))


def bare(tree: HiveKey) -> HiveKey:
    """What text holds of a tree."""
    return HiveKey(tree.name, tree.values, tuple(bare(key) for key in tree.subkeys), tree.layer)


def section(path: str, *values: HiveValue, deleted: bool = False) -> RegSection:
    return RegSection(f"{MOUNT}\\{path}", deleted, list(values))


def test_the_order_of_sections_counts() -> None:
    base = HiveKey("ROOT", (), (HiveKey("App", (HiveValue.dword("old", 1),), (HiveKey("Sub"),)),))
    anew = delta_of([section("App", deleted=True), section("app", HiveValue.dword("new", 1))], MOUNT)
    assert merge([base, anew]).subkeys == (HiveKey("app", (HiveValue.dword("new", 1),)),)
    gone = delta_of([section("App\\Sub", HiveValue.dword("x", 1)), section("APP", deleted=True)], MOUNT)
    assert merge([base, gone]).subkeys == ()


def test_values_of_the_root_and_new_paths() -> None:
    delta = delta_of([RegSection(MOUNT.lower(), values=[HiveValue.dword("v", 1)]), section("New\\Path")], MOUNT)
    made = merge([HiveKey("ROOT", (), (HiveKey("Old"),)), delta])
    assert made.value("V") == HiveValue.dword("v", 1)
    assert made.key("new\\path") is not None
    assert made.key("old") is not None


def test_a_delta_for_a_hive_keeps_its_descriptors() -> None:
    base = HiveKey("ROOT", (), (HiveKey("App", security=USUAL, timestamp=NOW),), security=USUAL, timestamp=NOW)
    made = merge([base, delta_of([section("App", HiveValue.dword("v", 1))], MOUNT)])
    (app,) = diff(base, made).subkeys
    assert (app.security, app.values) == (USUAL, (HiveValue.dword("v", 1),))


def test_sections_of_other_hives_and_the_root_itself_are_refused() -> None:
    with pytest.raises(UsageError, match="not below"):
        delta_of([RegSection("HKEY_LOCAL_MACHINE\\SYSTEM\\x")], MOUNT)
    with pytest.raises(UsageError, match="not below"):
        delta_of([RegSection("HKEY_LOCAL_MACHINE")], MOUNT)
    with pytest.raises(UsageError, match="cannot be deleted"):
        delta_of([RegSection(MOUNT, deleted=True)], MOUNT)


def test_names_that_text_cannot_hold_are_told() -> None:
    tree = HiveKey("ROOT", (HiveValue.dword("a\0b", 1), HiveValue.dword("c", 1)), (HiveKey("x\ny"), HiveKey("z")))
    with pytest.raises(UnsupportedError, match="cannot be said"):
        write_reg(sections_of(tree, "K"))
    skipped: list[str] = []
    found = parse_reg(write_reg(sections_of(tree, "K"), skipped=skipped))
    assert skipped == ["K\\a\0b", "K\\x\ny"]
    assert found == [RegSection("K", values=[HiveValue.dword("c", 1)]), RegSection("K\\z")]
