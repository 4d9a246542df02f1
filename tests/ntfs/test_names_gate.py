"""The gate: every hostile spelling is refused with its reason, every ordinary name passes, streams are told apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import UnsafeEntryError
from wclayer.ntfs.names import (
    checked_path,
    checked_stream_name,
    has_passed,
    name_notice,
    path_notice,
    split_stream,
    utf16_length,
    vouch,
)

HOSTILE = st.text(
    st.one_of(st.sampled_from(list("/\\:.. \0cCoOnNuUlL19$aZ\u00b9\U0001f600\ud800")), st.characters()), max_size=30
)


@pytest.mark.parametrize(
    "path",
    [
        "Files",
        "Files/Windows/System32/drivers/etc/hosts",
        "UtilityVM/Files/EFI/Microsoft/Boot/BCD",
        "Files/a b/c",
        "Files/日本語/ü",
        "Files/\U0001f600",
        "Files/\ud800",
        "Files/...",
        "Files/..a",
        "Files/a..",
        "Files/.a",
        "Files/.wh.x",
        "Files/CONFIG",
        "Files/con.txt",
        "Files/NUL.txt",
        "Files/COM",
        "Files/COM10",
        "Files/LPT",
        "Files/conin",
        "Files/CONIN$x",
        "Files/aux1",
        "Files/trailing.",
        "Files/trailing ",
        'Files/a?b*c<d>e|f"g',
        "Files/\x01",
        "Files/$Recycle.Bin",
        "a",
        " ",
        "Files/" + "a" * 255,
        "Files/" + "a" * 127 + "/" + "b" * 128,
        "Files/" + "\U0001f600" * 127 + "x",
        "/".join(["a" * 255] * 127) + "/" + "b" * 255,
    ],
)
def test_a_normal_path_passes_unchanged(path: str) -> None:
    assert checked_path(path) == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (".", ""),
        ("./", ""),
        (".\\", ""),
        ("././.", ""),
        ("./Files", "Files"),
        (".//Files", "Files"),
        ("Files/", "Files"),
        ("Files//", "Files"),
        ("Files\\", "Files"),
        ("Files/.", "Files"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        ("a\\b", "a/b"),
        ("a\\.\\b/", "a/b"),
        ("./a/" + "b" * 200, "a/" + "b" * 200),
    ],
)
def test_a_harmless_spelling_is_made_normal(text: str, path: str) -> None:
    assert checked_path(text) == path


GATE = [
    ("", "empty"),
    ("/", "absolute"),
    ("/x", "absolute"),
    ("/Files/x", "absolute"),
    ("\\", "absolute"),
    ("\\x", "absolute"),
    ("\\Windows\\System32", "absolute"),
    ("/..", "absolute"),
    ("/C:/x", "absolute"),
    ("//srv", "UNC or device"),
    ("//srv/share/x", "UNC or device"),
    ("\\\\srv\\share\\x", "UNC or device"),
    ("/\\srv", "UNC or device"),
    ("\\/srv", "UNC or device"),
    ("\\\\?\\C:\\x", "UNC or device"),
    ("\\\\.\\PhysicalDrive0", "UNC or device"),
    ("//?/GLOBALROOT/x", "UNC or device"),
    ("\\??\\C:\\x", "absolute"),
    ("C:", "drive"),
    ("c:", "drive"),
    ("C:x", "drive"),
    ("c:/x", "drive"),
    ("C:\\x", "drive"),
    ("z:../x", "drive"),
    ("./C:/x", "drive"),
    (".\\C:x", "drive"),
    ("..", "'..'"),
    ("../", "'..'"),
    ("../x", "'..'"),
    ("..\\x", "'..'"),
    ("./../x", "'..'"),
    ("Files/..", "'..'"),
    ("Files/../x", "'..'"),
    ("Files/../../etc/passwd", "'..'"),
    ("Files\\..\\x", "'..'"),
    ("Files/a/..\\..\\..\\x", "'..'"),
    ("Files/..//x", "'..'"),
    ("Files/x/../", "'..'"),
    ("\0", "NUL"),
    ("Files/\0", "NUL"),
    ("Files/a\0b", "NUL"),
    ("Files/a\0/../x", "NUL"),
    ("/\0", "NUL"),
    ("Files/a:b", "colon"),
    ("Files/a:", "colon"),
    ("Files/:b", "colon"),
    (":", "colon"),
    ("Files:s/x", "colon"),
    ("Files/a::$DATA", "colon"),
    ("Files::$INDEX_ALLOCATION/x", "colon"),
    ("Files/C:/x", "colon"),
    ("1:/x", "colon"),
    ("ä:/x", "colon"),
    ("CON", "device"),
    ("con", "device"),
    ("Files/CON", "device"),
    ("Files/Con/x", "device"),
    ("CON/x", "device"),
    ("Files/PRN", "device"),
    ("Files/AUX", "device"),
    ("Files/aux/", "device"),
    ("Files/NUL", "device"),
    ("Files/nUl", "device"),
    ("Files\\nul\\x", "device"),
    ("./NUL", "device"),
    ("Files/COM0", "device"),
    ("Files/COM1", "device"),
    ("Files/com9", "device"),
    ("Files/COM\u00b9", "device"),
    ("Files/com\u00b2", "device"),
    ("Files/COM\u00b3", "device"),
    ("Files/LPT0", "device"),
    ("Files/LPT1", "device"),
    ("Files/lpt9", "device"),
    ("Files/LPT\u00b9", "device"),
    ("Files/lpt\u00b3/x", "device"),
    ("Files/CONIN$", "device"),
    ("Files/conout$", "device"),
    ("Files/ConOut$/x", "device"),
    ("Files/" + "a" * 256, "255"),
    ("Files/" + "é" * 256 + "/x", "255"),
    ("Files/" + "\U0001f600" * 128, "255"),
    ("Files/" + "\U0001f600" * 127 + "xy", "255"),
    ("a" * 40000, "255"),
    ("/".join(["a" * 255] * 127) + "/" + "b" * 254 + "/c", "32767"),
    ("a/" * 16383 + "ab", "32767"),
    ("\U0001f600/" * 10923 + "x", "32767"),
]


def test_the_gate_table_is_not_thinned_out() -> None:
    assert len({text for text, _ in GATE}) >= 60


@pytest.mark.parametrize(("text", "reason"), GATE)
def test_a_hostile_path_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(UnsafeEntryError, match=re.escape(reason)) as caught:
        checked_path(text)
    assert caught.value.path == (text or None)
    assert caught.value.exit_code == 6


def _is_device(component: str) -> bool:
    devices = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    devices |= {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789\u00b9\u00b2\u00b3"}
    return "".join(c.upper() if c.isascii() else c for c in component) in devices


@given(HOSTILE)
def test_what_passes_the_gate_is_harmless_and_normal(text: str) -> None:
    try:
        path = checked_path(text)
    except UnsafeEntryError:
        return
    assert not re.search(r"[\\:\0]", path)
    for component in path.split("/") if path else ():
        assert component not in ("", ".", "..")
        assert not _is_device(component)
        assert utf16_length(component) <= 255
    assert checked_path(path or ".") == path
    assert [c for c in re.split(r"[/\\]", text) if c not in ("", ".")] == (path.split("/") if path else [])


@given(st.lists(st.text(st.characters(exclude_characters="/\\:\0"), min_size=1, max_size=200), min_size=1, max_size=4))
def test_the_gate_refuses_no_path_of_ordinary_names(components: list[str]) -> None:
    ordinary = [c for c in components if c not in (".", "..") and not _is_device(c) and utf16_length(c) <= 255]
    if ordinary:
        path = "/".join(ordinary)
        assert checked_path(path) == path


# -------------------------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize(
    ("text", "owner", "stream"),
    [
        ("Files/a", "Files/a", None),
        ("", "", None),
        ("Files/a:s", "Files/a", ":s"),
        ("Files/a:s:$DATA", "Files/a", ":s:$DATA"),
        ("Files/a:x:$TYPE", "Files/a", ":x:$TYPE"),
        ("Files/a:x:", "Files/a", ":x:"),
        ("Files\\a:s", "Files\\a", ":s"),
        ("./Files/dl.exe:Zone.Identifier", "./Files/dl.exe", ":Zone.Identifier"),
        ("file:s", "file", ":s"),
        ("Files/a:ünïcode", "Files/a", ":ünïcode"),
        ("Files/a:" + "s" * 255, "Files/a", ":" + "s" * 255),
        ("Files/C:s", "Files/C", ":s"),
    ],
)
def test_a_stream_is_split_from_its_owner(text: str, owner: str, stream: str | None) -> None:
    assert split_stream(text) == (owner, stream)


@pytest.mark.parametrize(
    "text",
    [
        "C:",
        "C:x",
        "c:/x",
        "C:\\x",
        "./C:x",
        "/C:x",
        "\\\\?\\C:\\x",
        "a:s/b",
        "Files:s/b",
        "Files:s\\b",
        "Files/a:s/",
        "Files/a:s/b:t",
        "Files/a:..\\..\\x",
        "Files/a:../x",
        "Files/:s",
        "Files\\:s",
        ":s",
        "/:s",
        "Files/a:",
        "Files/a::",
        "Files/a::$DATA",
        "Files/a::$INDEX_ALLOCATION",
        "Files/a:b:c:d",
        "Files/a:x:$DATA:$DATA",
        "Files/a:\0",
        "Files/a:s\0t",
        "Files/a:" + "s" * 256,
        "Files/a:" + "\U0001f600" * 128,
        "Files/a:s:" + "t" * 256,
    ],
)
def test_a_stream_that_could_mean_something_else_is_refused(text: str) -> None:
    with pytest.raises(UnsafeEntryError) as caught:
        split_stream(text)
    assert caught.value.path == text


@pytest.mark.parametrize("name", ["", "s", "s:$DATA", ":", ":a/b", ":a\\b:$DATA", ":a\0"])
def test_what_is_no_stream_name_is_refused(name: str) -> None:
    with pytest.raises(UnsafeEntryError):
        checked_stream_name(name, path="Files/a")


@given(HOSTILE)
def test_owner_and_stream_are_the_text_again_or_the_text_is_refused(text: str) -> None:
    try:
        owner, stream = split_stream(text)
    except UnsafeEntryError:
        return
    assert owner + (stream or "") == text
    assert ":" not in owner
    if stream is not None:
        assert checked_stream_name(stream) == stream
        assert not re.search(r"[/\\\0]", stream)


# -------------------------------------------------------------------------------------------------------------- notices


@pytest.mark.parametrize(
    ("component", "reason"),
    [
        ("a.", "ends in a dot or a space"),
        ("a ", "ends in a dot or a space"),
        ("...", "ends in a dot or a space"),
        ("NUL.txt", "device"),
        ("con.", "ends in a dot or a space"),
        ("con.tar.gz", "device"),
        ("AUX .txt", "device"),
        ("com1.log", "device"),
        ("LPT\u00b2.x", "device"),
        ("CON", "device"),
        ("a<b", "character"),
        ("a>b", "character"),
        ('a"b', "character"),
        ("a|b", "character"),
        ("a?b", "character"),
        ("*", "character"),
        ("a\x01b", "character"),
        ("a\n", "character"),
    ],
)
def test_a_name_that_win32_cannot_open_gets_a_notice(component: str, reason: str) -> None:
    for notice in (name_notice(component), path_notice(f"Files/{component}/x"), path_notice(f"Files/{component}")):
        assert notice is not None
        assert reason in notice
        assert notice.isprintable()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "Files",
        "Files/a.b c/..a",
        "Files/conhost.exe",
        "Files/com10.x",
        "Files/nul_.txt",
        "Files/ü/日本",
        "Files/ a",
    ],
)
def test_an_ordinary_path_gets_none(path: str) -> None:
    assert path_notice(path) is None


@given(HOSTILE)
def test_a_path_gets_a_notice_exactly_when_one_of_its_names_does(text: str) -> None:
    path = "/".join(part for part in re.split(r"[/\\:\0]", text) if part)
    notices = [name_notice(component) for component in path.split("/")]
    assert path_notice(path) == next((notice for notice in notices if notice), None)


def test_a_long_hostile_path_is_judged_in_linear_time() -> None:
    # Each would take minutes if the patterns could backtrack over it.
    for text in ("a" * 15999 + ":", "c/" * 7999 + ":", ("con" + "a" * 100 + "/") * 150 + "..", " ." * 7999):
        with pytest.raises(UnsafeEntryError):
            checked_path(text)
        path_notice(text)


def test_what_passed_is_that_very_text_and_the_last_one() -> None:
    first, same, second = ("".join(["Files/", name]) for name in ("a", "a", "b"))
    vouch(first)
    assert has_passed(first)
    assert first == same
    assert not has_passed(same)
    vouch(second)
    assert has_passed(second)
    assert not has_passed(first)
    assert not has_passed("")
