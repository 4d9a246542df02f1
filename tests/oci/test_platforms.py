from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import UsageError, WclayerError
from wclayer.oci.descriptors import Platform
from wclayer.oci.platforms import (
    DEFAULT_PLATFORM,
    RELEASES,
    PlatformSpec,
    format_platform,
    host_accepts,
    normalize,
    parse_platform,
    version_numbers,
)

# Image builds, and for each host build those that run on it under process isolation.
IMAGES = (14393, 17763, 19041, 20348, 22621, 25398, 26100, 26200)
HOSTS = {
    14393: {14393},
    17763: {17763},
    19041: {19041},
    19045: set(),
    20348: {20348},
    22621: {20348, 22621},
    25398: {20348, 22621, 25398},
    26100: {20348, 22621, 25398, 26100},
    26200: {26100, 26200},
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("image", IMAGES)
def test_which_image_runs_on_which_host(host: int, image: int) -> None:
    assert host_accepts(f"10.0.{host}.1", f"10.0.{image}.999") == (image in HOSTS[host])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("image", IMAGES)
def test_hyperv_isolation_takes_any_build_up_to_the_host(host: int, image: int) -> None:
    assert host_accepts(f"10.0.{host}", f"10.0.{image}", hyperv=True) == (image <= host)


@pytest.mark.parametrize(
    ("host", "image", "accepted"),
    [
        ("", "10.0.17763.1", True),
        ("10.0.17763.1", "", True),
        ("17763", "10.0.14393.1", True),  # a host version that cannot be read says nothing
        ("10.0", "10.0.14393.1", True),
        ("10.0.x", "10.0.14393.1", True),
        ("10.0.99999", "10.0.14393.1", True),  # more than 16 bits
        ("256.0.1", "10.0.14393.1", True),
        ("10.0.17763", "17763", False),  # an image version that cannot be read is no version
        ("10.0.17763", "10.0.17763x", False),
        ("10.0.17763", "10.0.17763.1.2.x", True),
        ("10.0.17763", "10.1.17763", False),
        ("10.0.17763", "6.0.17763", False),
        ("0.0.20348", "junk", False),
    ],
)
def test_versions_that_cannot_be_read(host: str, image: str, accepted: bool) -> None:
    assert host_accepts(host, image) is accepted


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("windows/amd64", "windows/amd64"),
        ("windows", "windows/amd64"),
        ("amd64", "windows/amd64"),
        ("arm64", "windows/arm64"),
        ("aarch64", "windows/arm64"),
        ("Windows/AMD64", "windows/amd64"),
        ("windows/x86_64", "windows/amd64"),
        ("windows/x86-64", "windows/amd64"),
        ("windows/amd64/v1", "windows/amd64"),
        ("windows/amd64/v3", "windows/amd64/v3"),
        ("linux/amd64", "linux/amd64"),
        ("linux", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("linux/i386/v5", "linux/386"),
        ("linux/386/v5", "linux/386/v5"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.1", "linux/arm64/v8.1"),
        ("linux/aarch64/9", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/armhf/v6", "linux/arm/v7"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64:10.0.20348.1", "windows(10.0.20348.1)/amd64"),
        ("windows/amd64/v2:10.0.20348", "windows(10.0.20348)/amd64/v2"),
        ("windows/amd64:20348", "windows(10.0.20348)/amd64"),
        ("windows/amd64:10.0", "windows(10.0)/amd64"),
        ("windows/amd64:ltsc2019", "windows(10.0.17763)/amd64"),
        ("windows/amd64,osver=10.0.20348", "windows(10.0.20348)/amd64"),
        ("windows/amd64,osversion=10.0.20348", "windows(10.0.20348)/amd64"),
        ("windows/amd64, osver = LTSC2022", "windows(10.0.20348)/amd64"),
        ("windows(10.0.20348)/amd64", "windows(10.0.20348)/amd64"),
        ("windows(10.0.20348+win32k)/amd64", "windows(10.0.20348+win32k)/amd64"),
        ("windows(10.0.20348+win32k+abc+abc)/amd64", "windows(10.0.20348+abc+win32k)/amd64"),
        ("windows(+win32k)/amd64", "windows(+win32k)/amd64"),
        ("windows()/amd64", "windows/amd64"),
        ("windows(10.0.17763+a%2Bb%2fc%25)/amd64", "windows(10.0.17763+a%2Bb%2Fc%25)/amd64"),
        ("windows(10%2E0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ("linux(1.2+x)/amd64", "linux(1.2+x)/amd64"),
        ("20348", "windows(10.0.20348)/amd64"),
        ("10.0.20348", "windows(10.0.20348)/amd64"),
        ("10.0.20348.2113", "windows(10.0.20348.2113)/amd64"),
        ("386", "windows/386"),
        ("ltsc2022", "windows(10.0.20348)/amd64"),
        ("LTSC2025", "windows(10.0.26100)/amd64"),
        ("1809", "windows(10.0.17763)/amd64"),
        ("20H2", "windows(10.0.19042)/amd64"),
        (" windows/amd64 ", "windows/amd64"),
    ],
)
def test_every_spelling_has_one_canonical_form(text: str, canonical: str) -> None:
    spec = parse_platform(text)
    assert str(spec) == canonical
    assert parse_platform(canonical) == spec


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "windows/",
        "/amd64",
        "windows/amd64/v2/x",
        "windows amd64",
        "gibberish",
        "*/amd64",
        "windows/amd64:",
        "windows/amd64:banana",
        "windows/amd64:10.0.20348.1.2",
        "windows/amd64:10..20348",
        "windows/amd64:-1",
        "windows/amd64:\u0661",
        "windows/amd64:1:2",
        "windows(10.0.17763)/amd64:10.0.17763",
        "windows/amd64:10.0.17763,osver=10.0.17763",
        "windows/amd64,osver=",
        "windows/amd64,color=red",
        "windows/amd64,",
        "windows(10.0.17763/amd64",
        "windows(10.0.17763))/amd64",
        "windows(10.0.17763+)/amd64",
        "windows(10.0%2)/amd64",
        "windows(%00)/amd64",
        "linux(%0a)/amd64",
        "linux(%ff)/amd64",
        "arm64(1.2)",
        "10",
        "1234",
        "10.0.20348.1.2",
        "10.0.20348/amd64",
        "99999",
        "windows/amd64:10.0.65536",
        "windows(256.0.1)/amd64",
    ],
)
def test_what_is_no_platform_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_platform(text)


def test_the_default_is_windows_on_amd64_of_any_version() -> None:
    assert parse_platform("windows/amd64") == DEFAULT_PLATFORM == PlatformSpec("windows", "amd64")


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_has_a_name(name: str) -> None:
    assert parse_platform(name.upper()).os_version == f"10.0.{RELEASES[name]}"


def test_the_platform_of_an_image_is_printed_as_containerd_does() -> None:
    assert format_platform(Platform("", "")) == "unknown"
    assert (
        format_platform(Platform("windows", "amd64", "", "10.0.1(2)/3+4%", ("b", "a")))
        == "windows(10.0.1%282%29%2F3%2B4%25+a+b)/amd64"
    )
    assert normalize(Platform("Windows", "x86_64", "v1")) == Platform("windows", "amd64")


def test_versions_sort_as_numbers() -> None:
    versions = ["10.0.20348.3091", "10.0.20348.999", "10.0.17763.1", "junk", ""]
    assert sorted(versions, key=version_numbers, reverse=True)[:3] == versions[:3]
    assert version_numbers("10.0.x") == version_numbers("") == ()


words = st.from_regex(r"[a-z0-9_.-]{1,6}", fullmatch=True)
texts = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=6)


@given(st.sampled_from(["linux", "darwin"]), words, words, st.just("") | texts, st.lists(texts, max_size=3))
def test_the_canonical_form_is_parsed_back(
    os: str, architecture: str, variant: str, version: str, features: list[str]
) -> None:
    platform = normalize(Platform(os, architecture, variant, version, tuple(features)))
    forbidden = set(":,")  # they begin crane's version and regctl's options; containerd escapes neither
    if forbidden & set(version + "".join(features)):
        return
    spec = parse_platform(format_platform(platform))
    assert (spec.os, spec.architecture, spec.variant) == (platform.os, platform.architecture, platform.variant)
    assert (spec.os_version, spec.os_features) == (platform.os_version, platform.os_features)


@given(st.text() | st.from_regex(r"[a-z0-9]{0,8}(\([a-z0-9.+%]*\))?/[a-z0-9]{0,6}(:|,osver=)?[0-9.]*", fullmatch=True))
def test_parsing_raises_nothing_but_usage_errors(text: str) -> None:
    try:
        spec = parse_platform(text)
    except UsageError:
        return
    assert parse_platform(str(spec)) == spec


@given(st.text(), st.text(), st.booleans())
def test_any_pair_of_versions_is_answered(host: str, image: str, hyperv: bool) -> None:
    try:
        assert host_accepts(host, image, hyperv=hyperv) in (True, False)
    except WclayerError:
        pytest.fail("versions of images are never an error")
