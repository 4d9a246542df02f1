"""Names, challenges, links, waiting times and addresses: what is right is understood, and nothing makes them fall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import UsageError
from wclayer.oci.digests import Digest
from wclayer.oci.registry.addresses import is_loopback_host, is_private_address, is_private_host
from wclayer.oci.registry.challenge import Challenge, parse_challenges, quote
from wclayer.oci.registry.links import next_link
from wclayer.oci.registry.names import RegistryName, is_tag, parse_registry_host, parse_registry_name
from wclayer.oci.registry.redaction import header_lines, printable, shown_url
from wclayer.oci.registry.retrying import Patience, retry_after

DIGEST = Digest("sha256", "0123456789abcdef" * 4)

# ----------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "digest"),
    [
        ("nanoserver", "docker.io", "library/nanoserver", "latest", None),
        ("anna/app", "docker.io", "anna/app", "latest", None),
        ("docker.io/app:1", "docker.io", "library/app", "1", None),
        ("index.docker.io/app", "docker.io", "library/app", "latest", None),
        ("registry-1.docker.io/anna/app", "docker.io", "anna/app", "latest", None),
        ("base.example/windows/nanoserver:ltsc2022", "base.example", "windows/nanoserver", "ltsc2022", None),
        ("docker://localhost/a", "localhost", "a", "latest", None),
        ("localhost:5000/a/b/c:v1", "localhost:5000", "a/b/c", "v1", None),
        ("[::1]:5000/a", "[::1]:5000", "a", "latest", None),
        ("Registry.Example.com/a", "registry.example.com", "a", "latest", None),
        ("LOCALHOST/a", "localhost", "a", "latest", None),
        (f"a.example.com/b@{DIGEST}", "a.example.com", "b", None, DIGEST),
        (f"a.example.com/b:1@{DIGEST}", "a.example.com", "b", "1", DIGEST),
        ("a.example.com/b__c/d.e-f--g", "a.example.com", "b__c/d.e-f--g", "latest", None),
    ],
)
def test_names(text: str, host: str, repository: str, tag: str | None, digest: Digest | None) -> None:
    name = parse_registry_name(text)
    assert name == RegistryName(host, repository, tag, digest)
    assert parse_registry_name(str(name)) == name
    assert name.reference == (digest or tag)
    assert str(name).startswith(name.repository_name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "docker://",
        "a.example.com/",
        "a.example.com/A",
        "HOST/a",
        "A",
        "a.example.com/b:",
        "a.example.com/b:-x",
        "a.example.com/b:" + "x" * 129,
        "a.example.com/b@",
        "a.example.com/b@sha256:abc",
        "a.example.com/b@sha256:" + "G" * 64,
        "a.example.com:0/b",
        "a.example.com:99999/b",
        "a.example.com:port/b",
        "-a.example.com/b",
        "a..example.com/b",
        "[::1/b",
        "a.example.com/b/../c",
        "a.example.com/b//c",
        "a.example.com/b c",
        "a.example.com/b\n",
        "a.example.com/b___c",
        "a.example.com/" + "b" * 256,
        "b" * 5000,
        "http://a.example.com/b",
        "user@a.example.com/b",
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError):
        parse_registry_name(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("registry.example.com", "registry.example.com"),
        ("https://registry.example.com/", "registry.example.com"),
        ("http://localhost:5000/v2/", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_registries(text: str, host: str) -> None:
    assert parse_registry_host(text) == host


@pytest.mark.parametrize("text", ["", "https://", "a b", "a/b", "a:b", "a:0", "ftp://a", "a\n", "user@a"])
def test_what_is_no_registry(text: str) -> None:
    with pytest.raises(UsageError):
        parse_registry_host(text)


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9./:@_\-\[\]A-Z]{0,60}", fullmatch=True))
def test_any_text_is_a_name_or_a_usage_error(text: str) -> None:
    try:
        name = parse_registry_name(text)
    except UsageError:
        return
    assert parse_registry_name(str(name)) == name


def test_other_references_of_a_name() -> None:
    name = parse_registry_name("a.example.com/b:1")
    assert str(name.at(DIGEST)) == f"a.example.com/b@{DIGEST}"
    assert str(name.at(DIGEST).at("2")) == "a.example.com/b:2"
    assert is_tag("v1.0_x-y")
    assert not is_tag("a/b")


# ------------------------------------------------------------------------------------------------------ challenges


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            ['Bearer realm="https://auth.example.com/token",service="a b",scope="repository:x:pull,push"'],
            [
                (
                    "bearer",
                    {"realm": "https://auth.example.com/token", "service": "a b", "scope": "repository:x:pull,push"},
                )
            ],
        ),
        (['Basic realm="x"'], [("basic", {"realm": "x"})]),
        (["Basic"], [("basic", {})]),
        (['Basic realm="x", Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        (["Negotiate, Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (["Negotiate YWJj==, Basic realm=x"], [("negotiate", {}), ("basic", {"realm": "x"})]),
        (["BEARER Realm = x , SERVICE=y"], [("bearer", {"realm": "x", "service": "y"})]),
        ([r'Bearer realm="a\"b\\c"'], [("bearer", {"realm": 'a"b\\c'})]),
        (["Bearer realm=x,realm=y"], [("bearer", {"realm": "x"})]),
        (['Basic realm="x"', 'Bearer realm="y"'], [("basic", {"realm": "x"}), ("bearer", {"realm": "y"})]),
        ([",, Basic realm=x,"], [("basic", {"realm": "x"})]),
        (['Bearer realm="never closed'], [("bearer", {})]),
        ([""], []),
        (["==="], []),
        (["x" * 20_000], []),
    ],
)
def test_challenges(headers: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(one.scheme, dict(one.parameters)) for one in parse_challenges(headers)] == expected


TOKENS = st.from_regex(r"[a-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS, VALUES, min_size=1, max_size=4)), max_size=4))
def test_challenges_that_were_written_are_read(given_ones: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quote(value)}" for name, value in parameters.items())
        for scheme, parameters in given_ones
    )
    assert parse_challenges([header]) == [Challenge(scheme, parameters) for scheme, parameters in given_ones]


@given(st.lists(st.text(max_size=200) | st.text('Bb asic=,"\\; \t', max_size=60), max_size=4))
def test_any_challenge_is_read_somehow(headers: list[str]) -> None:
    for challenge in parse_challenges(headers):
        assert challenge.scheme


# ----------------------------------------------------------------------------------------------------------- links


@pytest.mark.parametrize(
    ("headers", "target"),
    [
        (['</v2/_catalog?last=a&n=1>; rel="next"'], "/v2/_catalog?last=a&n=1"),
        (["</x>; rel=next"], "/x"),
        (['</x>;rel=prev, </y>; title="a, b"; rel="last Next"'], "/y"),
        (["</x>; rel=prev", "</y>; rel=next"], "/y"),
        (["</x>; REL=NEXT"], "/x"),
        (["</x>; foo; rel=next"], "/x"),
        (["</x>; rel=nextish"], None),
        (["</x>"], None),
        (["/x; rel=next"], None),
        (["</x; rel=next"], None),
        (["<" + "x" * 20_000 + ">; rel=next"], None),
        ([], None),
    ],
)
def test_links(headers: list[str], target: str | None) -> None:
    assert next_link(headers) == target


@given(st.lists(st.text(max_size=100) | st.text('<>;,=" relnext/', max_size=80), max_size=3))
def test_any_link_is_read_somehow(headers: list[str]) -> None:
    target = next_link(headers)
    assert target is None or f"<{target}>" in "".join(headers)


@given(st.integers(0, 16_000))
def test_links_take_time_in_proportion_to_their_length(count: int) -> None:
    assert next_link(["<a>" + ";a" * (count // 2)]) is None


# --------------------------------------------------------------------------------------------------------- waiting


def test_how_long_to_wait() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": "120"}) == 120
    assert retry_after({"retry-after": "-1"}) is None
    assert retry_after({"retry-after": "1" * 30}) is None
    assert retry_after({"retry-after": "²"}) is None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert retry_after({"retry-after": later}, now.timestamp()) == 90
    assert retry_after({"retry-after": later}, now.timestamp() + 1000) == 0


@given(st.text(max_size=40))
def test_any_waiting_time_is_none_or_not_negative(text: str) -> None:
    assert (retry_after({"retry-after": text}) or 0) >= 0


def test_delays_grow_to_an_end() -> None:
    patience = Patience(10, None)
    for attempt in range(20):
        longest = min(0.5 * 2**attempt, 30)
        assert longest / 2 <= patience.delay(attempt) <= longest
    assert patience.delay(0, 99) == 99
    assert Patience(1, 2.5).delay(7) == 2.5


# ------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
        "2002:0a00:0001::", "64:ff9b::10.0.0.1", "nonsense",
    ],
)  # fmt: skip
def test_private_addresses(text: str) -> None:
    assert is_private_address(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses(text: str) -> None:
    assert not is_private_address(text)
    assert not is_private_host(f"[{text}]" if ":" in text else text)


def test_hosts_of_this_machine() -> None:
    for host in ("localhost", "LOCALHOST.", "a.localhost", "127.1.2.3", "[::1]", "::1"):
        assert is_loopback_host(host)
        assert is_private_host(host, resolve=False)
    for host in ("localhost.example.com", "example.com", "10.0.0.1", "127.0.0.1.example.com"):
        assert not is_loopback_host(host)
    assert is_private_host("10.0.0.1")
    assert not is_private_host("name.invalid")


# ------------------------------------------------------------------------------------------------------- redaction


def test_what_is_shown_of_an_address() -> None:
    assert shown_url("https://anna:pw@a.example.com/v2/x?sig=s3cret&n=5&digest=sha256:0#frag") == (
        "https://a.example.com/v2/x?sig=***&n=5&digest=sha256:0"
    )
    assert shown_url("/v2/x?_state=abc") == "/v2/x?_state=***"
    assert shown_url("https://a/x?s3cret") == "https://a/x?***"
    assert shown_url("https://[/") == "an address that is none"
    assert "\x1b" not in shown_url("https://a/\x1b[31m")


def test_what_is_shown_of_headers() -> None:
    headers = {
        "Authorization": "Bearer s3cret",
        "Proxy-Authorization": "s3cret",
        "Set-Cookie": "s3cret",
        "X-Registry-Auth": "s3cret",
        "Location": "https://a/x?sig=s3cret",
        "WWW-Authenticate": 'Bearer realm="https://a/?x=s3cret"',
        "Content-Type": "text/plain\x1b",
    }
    shown = header_lines(headers.items(), "<")
    assert "s3cret" not in "\n".join(shown).replace("Proxy-Authorization: s3cret ***", "")
    assert shown[0] == "< Authorization: Bearer ***"
    assert shown[-1] == "< Content-Type: text/plain "


@given(st.text(max_size=400))
def test_whatever_is_shown_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()
    assert shown_url(text).isprintable()
