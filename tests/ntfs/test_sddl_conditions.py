from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ntfs import descriptors
from wclayer.errors import FormatError, LimitError, UnsupportedError, WclayerError
from wclayer.ntfs.sddl import from_sddl, to_sddl
from wclayer.ntfs.sddl_conditions import MAX_DEPTH, condition_from_text, condition_to_text
from wclayer.ntfs.security import Ace, Acl, SecurityDescriptor, build
from wclayer.ntfs.sid import Sid
from wclayer.ntfs.well_known import SidResolver


def compiled(text: str) -> bytes:
    program, end = condition_from_text(text, 0, SidResolver())
    assert end == len(text)
    return program


def block(code: int, content: bytes) -> bytes:
    return bytes((code,)) + struct.pack("<I", len(content)) + content


def attribute(name: str, code: int = 0xF8) -> bytes:
    return block(code, name.encode("utf-16-le"))


def integer(value: int, sign: int = 3, base: int = 2, code: int = 4) -> bytes:
    return struct.pack("<BQBB", code, value % (1 << 64), sign, base)


def program(*tokens: bytes) -> bytes:
    body = b"artx" + b"".join(tokens)
    return body + bytes(-len(body) % 4)


A, B, ONE = attribute("a"), attribute("b", 0xF9), integer(1)
EVERYONE = block(0x51, Sid(1, (0,)).to_bytes())


def test_the_documented_program_of_a_title_comparison() -> None:
    # An example of Microsoft's documentation of conditional entries, its tokens spelt out.
    text = '(@User.Title=="PM" && (@User.Division=="Finance" || @User.Division =="Sales"))'
    title, division = attribute("Title", 0xF9), attribute("Division", 0xF9)
    expected = program(
        title,
        block(0x10, "PM".encode("utf-16-le")),
        b"\x80",
        division,
        block(0x10, "Finance".encode("utf-16-le")),
        b"\x80",
        division,
        block(0x10, "Sales".encode("utf-16-le")),
        b"\x80\xa1\xa0",
    )
    assert compiled(text) == expected
    assert (
        condition_to_text(expected)
        == '((@USER.Title == "PM") && ((@USER.Division == "Finance") || (@USER.Division == "Sales")))'
    )


@pytest.mark.parametrize(
    ("text", "expected", "written"),
    [
        ("(a)", (A,), "(a)"),
        ("(a==1)", (A, ONE, b"\x80"), "(a == 1)"),
        ("(a != 1)", (A, ONE, b"\x81"), "(a != 1)"),
        ("(a<1)", (A, ONE, b"\x82"), "(a < 1)"),
        ("(a<=1)", (A, ONE, b"\x83"), "(a <= 1)"),
        ("(a>1)", (A, ONE, b"\x84"), "(a > 1)"),
        ("(a>=1)", (A, ONE, b"\x85"), "(a >= 1)"),
        ("(a CONTAINS 1)", (A, ONE, b"\x86"), "(a Contains 1)"),
        ("(a any_of{1})", (A, block(0x50, ONE), b"\x88"), "(a Any_of {1})"),
        ("(a Not_Contains 1)", (A, ONE, b"\x8e"), "(a Not_Contains 1)"),
        ("(a Not_Any_of 1)", (A, ONE, b"\x8f"), "(a Not_Any_of 1)"),
        ("(exists a)", (A, b"\x87"), "(Exists a)"),
        ("(Not_Exists @User.b)", (B, b"\x8d"), "(Not_Exists @USER.b)"),
        ("(Member_of{SID(WD)})", (block(0x50, EVERYONE), b"\x89"), "(Member_of {SID(WD)})"),
        ("(Device_Member_of sid(s-1-1-0))", (EVERYONE, b"\x8a"), "(Device_Member_of SID(WD))"),
        ("(Member_of_Any((SID(WD))))", (EVERYONE, b"\x8b"), "(Member_of_any SID(WD))"),
        ("(Device_Member_of_Any SID(WD))", (EVERYONE, b"\x8c"), "(Device_Member_of_any SID(WD))"),
        ("(Not_Member_of SID(WD))", (EVERYONE, b"\x90"), "(Not_Member_of SID(WD))"),
        ("(Not_Device_Member_of SID(WD))", (EVERYONE, b"\x91"), "(Not_Device_Member_of SID(WD))"),
        ("(Not_Member_of_Any SID(WD))", (EVERYONE, b"\x92"), "(Not_Member_of_any SID(WD))"),
        ("(Not_Device_Member_of_Any SID(WD))", (EVERYONE, b"\x93"), "(Not_Device_Member_of_any SID(WD))"),
        ("(!(! (a)))", (A, b"\xa2\xa2"), "(!(!(a)))"),
        ("(a && @User.b)", (A, B, b"\xa0"), "((a) && (@USER.b))"),
        ("(a || a && a)", (A, A, A, b"\xa0\xa1"), "((a) || ((a) && (a)))"),
        ("(a && a || a)", (A, A, b"\xa0", A, b"\xa1"), "(((a) && (a)) || (a))"),
        ("((a || a) && a)", (A, A, b"\xa1", A, b"\xa0"), "(((a) || (a)) && (a))"),
        ("(a && a && a)", (A, A, b"\xa0", A, b"\xa0"), "(((a) && (a)) && (a))"),
        ("(@RESOURCE.x == @DEVICE.y)", (attribute("x", 0xFA), attribute("y", 0xFB), b"\x80"), None),
        ("(a == 0x1F)", (A, integer(31, base=3), b"\x80"), "(a == 0x1f)"),
        ("(a == 017)", (A, integer(15, base=1), b"\x80"), "(a == 017)"),
        ("(a == 0)", (A, integer(0), b"\x80"), "(a == 0)"),
        ("(a == -1)", (A, integer(-1, sign=2), b"\x80"), "(a == -1)"),
        ("(a == +0x10)", (A, integer(16, sign=1, base=3), b"\x80"), "(a == +0x10)"),
        ("(a == -0x8000000000000000)", (A, integer(1 << 63, sign=2, base=3), b"\x80"), None),
        ("(a == 0xffffffffffffffff)", (A, integer(-1, base=3), b"\x80"), None),
        ("(a == #01020300)", (A, block(0x18, b"\1\2\3\0"), b"\x80"), None),
        ("(a==##1#2#3##)", (A, block(0x18, b"\1\2\3\0"), b"\x80"), "(a == #01020300)"),
        ("(a==#1#2#3##)", (A, block(0x18, b"\1\2\3\0"), b"\x80"), "(a == #01020300)"),
        ("(a == #)", (A, block(0x18, b""), b"\x80"), None),
        ('(a == "")', (A, block(0x10, b""), b"\x80"), None),
        ('(a == "b(%0041;")', (A, block(0x10, "b(%0041;".encode("utf-16-le")), b"\x80"), None),
        (
            '(a == {1, "x", #00, SID(WD)})',
            (A, block(0x50, ONE + block(0x10, b"x\0") + block(0x18, b"\0") + EVERYONE), b"\x80"),
            None,
        ),
        ("(a == {})", (A, block(0x50, b""), b"\x80"), None),
        ("(@User.ad://ext/x == 1)", (attribute("ad://ext/x", 0xF9), ONE, b"\x80"), "(@USER.ad://ext/x == 1)"),
        ("(@User.a%0020b'};c)", (attribute("a b'};c", 0xF9),), "(@USER.a%0020b'};c)"),
        ("(@User.%d83d%DE00)", (attribute("\U0001f600", 0xF9),), "(@USER.%d83d%de00)"),
        ("(WIN://SYSAPPID Contains 1)", (attribute("WIN://SYSAPPID"), ONE, b"\x86"), None),
    ],
)
def test_text_and_program_say_the_same(text: str, expected: tuple[bytes, ...], written: str | None) -> None:
    assert compiled(text) == program(*expected)
    assert condition_to_text(program(*expected)) == (written or text)
    assert compiled(written or text) == program(*expected)


def test_smaller_integers_are_read_and_written_as_64_bits() -> None:
    for code in (1, 2, 3):
        assert condition_to_text(program(A, integer(-5, 2, 2, code), b"\x80")) == "(a == -5)"
    assert compiled("(a == -5)") == program(A, integer(-5, 2, 2, 4), b"\x80")


@pytest.mark.parametrize("name", ["Member_of", "exists", "SID", "Contains", "Not_Any_of"])
def test_names_that_look_like_keywords_are_escaped(name: str) -> None:
    tokens = (attribute(name), attribute(name), b"\x80")
    assert compiled(condition_to_text(program(*tokens))) == program(*tokens)


def test_a_name_that_looks_like_a_number_is_escaped_only_on_the_right() -> None:
    tokens = (attribute("77"), attribute("77"), b"\x80")
    assert condition_to_text(program(*tokens)) == "(77 == %00377)"
    assert compiled("(77 == %00377)") == program(*tokens)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        "(a",
        "a",
        "(a b)",
        "(a &&)",
        "(&& a)",
        "(a & b)",
        "(! a)",
        "(!!(a))",
        "(!Member_of{SID(BA)})",
        "(a = 1)",
        "(a == !(a))",
        "(a == (a == 1))",
        '("x" == "x")',
        "(1 == )",
        "(a == 08)",
        "(a == 1x)",
        "(a == 0x10000000000000000)",
        "(a == 18446744073709551616)",
        "(a == -9223372036854775809)",
        '(a == "x)',
        "(a == SID(ZZ))",
        "(a == SID())",
        "(a == SID(S-1-))",
        "(a == {1 2})",
        "(a == {1,})",
        "(a == {,})",
        "(a == {1",
        "(a == {{1}})",
        "(Member_of_AnySID(WD))",
        "(Member_of)",
        "(Member_of (SID(WD))",
        "(Exists)",
        "(Exists 'a' b)",
        "(@User.)",
        "(@Nobody.a)",
        "(@ a)",
    ],
)
def test_texts_that_are_no_conditions_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        condition_from_text(text, 0, SidResolver())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "signature"),
        (b"artX", "signature"),
        (b"artx", "leaves 0 operands"),
        (program(A, A), "leaves 2 operands"),
        (program(ONE), "leaves 1 operands"),
        (program(b"\x80"), "lacks operands"),
        (program(A, b"\xa0"), "lacks operands"),
        (program(A, A, b"\xb7"), "unknown token 0xb7"),
        (program(A, b"\x33"), "token 0x33"),
        (program(A) + b"\0\0\0\1", "after the padding"),
        (b"artx\xf8\x04", "ends early"),
        (b"artx\xf8\xff\xff\xff\xffa\0", "4294967295 bytes"),
        (program(block(0xF8, b"a")), "odd number"),
        (program(block(0xF8, b"")), "without a name"),
        (b"artx" + A + b"\x04\0\0", "ends early"),
        (program(A, integer(1, sign=4), b"\x80"), "sign code 4"),
        (program(A, integer(1, base=0), b"\x80"), "base code 0"),
        (program(A, integer(5, sign=2), b"\x80"), "minus sign but a positive value"),
        (program(A, block(0x51, b"\1\1"), b"\x80"), "SID"),
        (program(A, block(0x51, Sid(1, (0,)).to_bytes() + bytes(4)), b"\x80"), "12 of 16 bytes"),
        (program(A, block(0x50, block(0x50, b"")), b"\x80"), "token 0x50"),
        (program(A, block(0x50, A), b"\x80"), "token 0xf8"),
    ],
)
def test_broken_programs_are_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        condition_to_text(data)


@pytest.mark.parametrize(
    "tokens",
    [
        (ONE, A, b"\x80"),
        (A, ONE, b"\xa0"),
        (ONE, b"\xa2"),
        (A, b"\x89"),
        (ONE, b"\x87"),
        (A, b"\x87\x87"),
        (A, ONE, b"\x80", ONE, b"\x80"),
        (A, A, ONE, b"\x80\x80"),
        (A, block(0x10, '"'.encode("utf-16-le")), b"\x80"),
    ],
)
def test_programs_sddl_has_no_words_for_are_refused(tokens: tuple[bytes, ...]) -> None:
    with pytest.raises(UnsupportedError):
        condition_to_text(program(*tokens))


def test_depth_is_limited_both_ways_and_costs_no_stack() -> None:
    deepest = program(A, b"\xa2" * MAX_DEPTH)
    assert compiled(condition_to_text(deepest)) == deepest
    chain = program(A, (A + b"\xa0") * MAX_DEPTH)
    assert compiled(condition_to_text(chain)) == chain
    for tokens in ((A, b"\xa2" * (MAX_DEPTH + 1)), (A, (A + b"\xa0") * (MAX_DEPTH + 1)), (A * 1200, b"\xa1" * 1199)):
        with pytest.raises(LimitError):
            condition_to_text(program(*tokens))
    for text in ("(" * 100_000, "(" + "!(" * 100_000, "(" + "a && " * 2000 + "a)"):
        with pytest.raises(LimitError):
            condition_from_text(text, 0, SidResolver())


def test_conditions_travel_inside_descriptors() -> None:
    text = 'O:BAG:BAD:(XA;OICI;FX;;;WD;(@USER.Title == {"PM", "VP"}))(XD;;FA;;;AN;(Exists x))S:(XU;SA;GA;;;WD;(y))'
    assert to_sddl(build(from_sddl(text))) == text
    guid = "ab721a53-1e2f-11d0-9819-00aa0040529b"
    assert to_sddl(from_sddl(f"D:(ZA;;CR;{guid};;WD; (a) )")) == f"D:(ZA;;CR;{guid};;WD;(a))"


@given(descriptors.conditions)
def test_any_writable_program_survives_the_text(data: bytes) -> None:
    assert compiled(condition_to_text(data)) == data


@given(
    st.binary(max_size=80)
    | st.lists(st.sampled_from([A, B, ONE, EVERYONE, *map(bytes, zip(range(256)))])).map(b"".join)
)
def test_any_program_gives_a_text_that_reads_or_an_error_of_ours(tokens: bytes) -> None:
    try:
        text = condition_to_text(b"artx" + tokens)
    except WclayerError:
        return
    assert condition_to_text(compiled(text)) == text
    ace = Ace(9, 0, 1, Sid(1, (0,)), b"artx" + tokens)
    assert to_sddl(SecurityDescriptor(dacl=Acl((ace,)))) == f"D:(XA;;CC;;;WD;{text})"


@given(st.text(max_size=30) | st.text('ab&|!()=<>@{}"#,.%0123 -SIDsid', max_size=30))
def test_any_text_gives_a_program_or_an_error_of_ours(text: str) -> None:
    try:
        data, _ = condition_from_text(f"({text})", 0, SidResolver())
    except WclayerError:
        return
    assert compiled(condition_to_text(data)) == data
