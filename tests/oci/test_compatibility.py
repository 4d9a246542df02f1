"""Which Windows image is taken for which host: the whole table, every spelling of a host, and every odd version."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import NotFoundError, UsageError
from wclayer.oci.compatibility import Cause, architecture_order, judge
from wclayer.oci.descriptors import Descriptor, Index, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.mediatypes import DOCKER_CONFIG, OCI_INDEX, OCI_MANIFEST
from wclayer.oci.platforms import RELEASES, PlatformSpec, format_platform, host_accepts, parse_platform
from wclayer.oci.selection import Candidate, list_candidates, select

IMAGES = (14393, 16299, 17134, 17763, 18362, 18363, 19041, 19042, 20348, 22000, 22621, 25398, 26100, 26200, 28000)

# Host build: what it runs with process isolation, as hcsshim's osversion package and containerd/platforms have it.
PROCESS: dict[int, set[int]] = {
    14393: {14393},
    16299: {16299},
    17134: {17134},
    17763: {17763},
    18362: {18362},
    18363: {18363},
    19041: {19041},
    19042: {19042},
    19043: set(),
    19044: set(),
    19045: set(),
    20347: set(),
    20348: {20348},
    20349: {20348},
    22000: {20348, 22000},
    22621: {20348, 22000, 22621},
    25398: {20348, 22000, 22621, 25398},
    26100: {20348, 22000, 22621, 25398, 26100},
    26200: {26100, 26200},
    28000: {26100, 26200, 28000},
}

# The pairs of containerd's own test of this rule: host, image, whether it runs.
CONTAINERD = [
    (17763, 17763, True),
    (17763, 20348, False),
    (20348, 17763, False),
    (20348, 20348, True),
    (22621, 17763, False),
    (22621, 20348, True),
    (25398, 17763, False),
    (25398, 20348, True),
    (26100, 20348, True),
    (20348, 26100, False),
    (20348, 22621, False),
    (26100, 22621, True),
]


def entry(version: str = "", *features: str, os: str = "windows", arch: str = "amd64", variant: str = "") -> Candidate:
    platform = Platform(os, arch, variant, version, features)
    return Candidate(Descriptor(OCI_MANIFEST, digest_of(repr(platform).encode()), 1, platform=platform), platform)


def spellings(build: int) -> list[str]:
    """Every way to name a host of this build."""
    names = [name for name, known in RELEASES.items() if known == build]
    return [
        str(build),
        f"10.0.{build}",
        f"10.0.{build}.2113",
        f"windows/amd64:{build}",
        f"windows/amd64:10.0.{build}.1",
        f"windows/amd64,osver=10.0.{build}.9999",
        f"windows(10.0.{build})/amd64",
        f"windows(10.0.{build}.5+win32k)/x86_64",
        f"windows(10%2E0.{build})",
        *names,
        *(f"windows/amd64:{name}" for name in names),
        *(f"windows({name.upper()})/amd64" for name in names),
    ]


@pytest.mark.parametrize("isolation", ["process", "hyperv"])
@pytest.mark.parametrize("host", PROCESS)
def test_the_whole_table_in_every_spelling_of_the_host(host: int, isolation: str) -> None:
    hyperv = isolation == "hyperv"
    fitting = {image for image in IMAGES if image <= host} if hyperv else PROCESS[host]
    found = [entry(f"10.0.{image}.77") for image in IMAGES]
    for text in spellings(host):
        wanted = parse_platform(text)
        for image, candidate in zip(IMAGES, found, strict=True):
            assert candidate.platform is not None
            verdict = judge(candidate.platform, wanted, hyperv=hyperv)
            assert verdict.runs == (image in fitting) == host_accepts(wanted.os_version, f"10.0.{image}", hyperv=hyperv)
            assert str(image) in verdict.reason
        if fitting:
            chosen = select(found, wanted, hyperv=hyperv).chosen
            assert chosen is found[IMAGES.index(max(fitting))]
        else:
            with pytest.raises(NotFoundError, match="there are"):
                select(found, wanted, hyperv=hyperv)


@pytest.mark.parametrize(("host", "image", "runs"), CONTAINERD)
def test_the_pairs_that_containerd_tests(host: int, image: int, runs: bool) -> None:
    for revisions in ((1, 1), (1, 999), (3091, 2)):
        offered = Platform("windows", "amd64", os_version=f"10.0.{image}.{revisions[0]}")
        assert judge(offered, parse_platform(f"10.0.{host}.{revisions[1]}")).runs == runs


@pytest.mark.parametrize(
    ("image", "host", "hyperv", "cause"),
    [
        ("10.0.20348.1", "10.0.20348.2", False, "same-build"),
        ("10.0.20348.1", "10.0.26100.2", False, "older-build"),
        ("10.0.17763.1", "10.0.26100.2", True, "hyperv"),
        ("10.0.17763.1", "", False, "any-version"),
        ("", "10.0.17763", False, "no-image-version"),
        ("10.0.26100.1", "10.0.20348", False, "newer-build"),
        ("10.0.26100.1", "10.0.20348", True, "newer-build"),
        ("10.0.14393.1", "10.0.17763", False, "own-build-only"),
        ("10.0.17763.1", "10.0.20348", False, "own-build-only"),
        ("10.0.17763.1", "10.0.25398", False, "too-old"),
        ("10.0.20348.1", "10.0.26200", False, "too-old"),
        ("17763", "10.0.17763", False, "unreadable-version"),
        ("10.0", "10.0.17763", True, "unreadable-version"),
        ("10.0.65536.1", "10.0.17763", False, "unreadable-version"),
        ("10.0.-1.1", "10.0.17763", False, "unreadable-version"),
        ("6.3.9600", "10.0.17763", False, "other-windows"),
        ("10.1.17763", "10.0.17763", True, "other-windows"),
        ("10.0.17763.1", "10.0", False, "any-version"),
        ("6.3.9600", "10.0", False, "other-windows"),
    ],
)
def test_every_answer_has_its_cause(image: str, host: str, hyperv: bool, cause: Cause) -> None:
    verdict = judge(Platform("windows", "amd64", os_version=image), PlatformSpec(os_version=host), hyperv=hyperv)
    assert verdict.cause == cause
    assert verdict.runs == (cause in ("any-version", "no-image-version", "same-build", "older-build", "hyperv"))
    assert verdict.reason[0].islower()
    assert not verdict.reason.endswith(".")


@pytest.mark.parametrize(("image", "hyperv_helps"), [("10.0.17763.1", True), ("10.0.26200.1", False)])
def test_the_reason_says_what_would_help(image: str, hyperv_helps: bool) -> None:
    offered, host = Platform("windows", "amd64", os_version=image), parse_platform("ltsc2022")
    assert ("Hyper-V isolation would run it" in judge(offered, host).reason) == hyperv_helps
    assert judge(offered, host, hyperv=True).runs == hyperv_helps


@pytest.mark.parametrize(
    ("offered", "wanted", "cause"),
    [
        (Platform("linux", "amd64"), "windows/amd64", "os"),
        (Platform("", ""), "windows/amd64", "os"),
        (Platform("windows", "arm64"), "windows/amd64", "architecture"),
        (Platform("windows", ""), "windows/amd64", "architecture"),
        (Platform("windows", "amd64", "v3"), "windows/amd64/v2", "architecture"),
        (Platform("windows", "amd64", "", "10.0.17763.1", ("gpu",)), "ltsc2019", "features"),
        (Platform("windows", "amd64", "", "10.0.17763.1", ("a+b",)), "windows(10.0.17763+a)/amd64", "features"),
        (Platform("linux", "amd64", "", "", ("win32k",)), "linux/amd64", "features"),
        (Platform("linux", "amd64", "", "7"), "linux(8)/amd64", "other-windows"),
    ],
)
def test_what_is_for_another_platform_says_so(offered: Platform, wanted: str, cause: Cause) -> None:
    verdict = judge(offered, parse_platform(wanted))
    assert (verdict.runs, verdict.cause) == (False, cause)


@pytest.mark.parametrize(
    ("features", "wanted", "runs"),
    [
        ((), "windows(10.0.17763)/amd64", True),
        (("win32k",), "windows(10.0.17763)/amd64", True),
        (("win32k",), "windows(10.0.17763+win32k)/amd64", True),
        ((), "windows(10.0.17763+win32k)/amd64", True),
        (("gpu", "win32k"), "windows(10.0.17763)/amd64", False),
        (("gpu", "win32k"), "windows(10.0.17763+gpu)/amd64", True),
        (("gpu",), "windows(10.0.17763+win32k+gpu)/amd64", True),
        (("a+b",), "windows(10.0.17763+a%2Bb)/amd64", True),
        (("a+b",), "windows(10.0.17763+a+b)/amd64", False),
        (("(x/y)", "100%"), "windows(10.0.17763+%28x%2Fy%29+100%25)/amd64", True),
        (("gpu", "gpu"), "windows(10.0.17763+gpu)/amd64", True),
    ],
)
def test_features_of_the_image_must_be_features_of_the_host(features: tuple[str, ...], wanted: str, runs: bool) -> None:
    assert judge(Platform("windows", "amd64", "", "10.0.17763.1", features), parse_platform(wanted)).runs == runs


@pytest.mark.parametrize("host", ["10.0.65536", "10.0.203480", "256.0.20348", "10.256.20348", "windows/amd64:99999"])
def test_a_host_that_no_windows_can_be_is_not_taken_for_any(host: str) -> None:
    assert host_accepts(host, "10.0.14393.1")  # the rule itself takes what it cannot read for any host
    with pytest.raises(UsageError, match="65535"):
        parse_platform(host)


@pytest.mark.parametrize("version", ["0.0.0", "0.0.0.7"])
def test_a_host_of_version_zero_is_no_version(version: str) -> None:
    assert host_accepts(version, "10.0.14393.1")


# containerd: platforms.Only.
ARM32 = [("arm", "v8"), ("arm", "v7"), ("arm", "v6"), ("arm", "v5")]


@pytest.mark.parametrize(
    ("wanted", "order"),
    [
        ("linux/amd64", [("amd64", ""), ("386", "")]),
        ("linux/amd64/v3", [("amd64", "v3"), ("amd64", "v2"), ("amd64", ""), ("386", "")]),
        ("linux/386", [("386", "")]),
        ("linux/arm", ARM32[1:]),
        ("linux/arm/v8", ARM32),
        ("linux/arm/v5", ARM32[3:]),
        ("linux/arm64", [("arm64", ""), *ARM32]),
        ("linux/arm64/v8.2", [("arm64", "v8.2"), ("arm64", "v8.1"), ("arm64", ""), *ARM32]),
        (
            "linux/arm64/v9.1",
            [
                *(("arm64", name) for name in ("v9.1", "v9", "v8.6", "v8.5", "v8.4", "v8.3", "v8.2", "v8.1", "")),
                *ARM32,
            ],
        ),
        ("linux/arm64/v8.42", [("arm64", "v8.42")]),
        ("linux/s390x", [("s390x", "")]),
    ],
)
def test_older_variants_run_on_newer_ones_best_first(wanted: str, order: list[tuple[str, str]]) -> None:
    assert list(architecture_order(parse_platform(wanted))) == order


def test_the_architecture_itself_comes_before_a_newer_version_for_an_older_one() -> None:
    older, exact = entry("10.0.20348.3091", arch="386"), entry("10.0.20348.1")
    assert select([older, exact], parse_platform("ltsc2022")).chosen is exact
    assert select([older], parse_platform("ltsc2022")).chosen is older


def test_the_highest_build_then_the_highest_revision_then_the_first() -> None:
    found = [entry(f"10.0.{tail}") for tail in ("20348.9", "22621.1", "20348.3091", "22621.999", "22621.1000")]
    assert select(found, parse_platform("23h2")).chosen is found[4]
    assert select(found, parse_platform("10.0.22621.1")).chosen is found[1]
    assert select(found, parse_platform("10.0.20348.10")).chosen is found[2]
    twin = Candidate(Descriptor(OCI_MANIFEST, digest_of(b"twin"), 1), found[4].platform)
    assert select([*found, twin], parse_platform("23h2")).chosen is found[4]
    assert select([twin, *found], parse_platform("23h2")).chosen is twin


def test_what_an_enclosing_index_says_counts_too() -> None:
    linux = Descriptor(OCI_INDEX, digest_of(b"linux"), 1, platform=Platform("linux", "amd64"))
    server = Descriptor(OCI_INDEX, digest_of(b"win"), 1, platform=Platform("windows", "amd64", "", "10.0.20348.1"))
    image = entry("10.0.20348.3091").descriptor
    silent = Descriptor(OCI_MANIFEST, digest_of(b"silent"), 1)
    inside = {linux.digest: image, server.digest: silent}

    def read_index(one: Descriptor) -> Index:
        return Index(b"", one.digest, OCI_INDEX, (inside[one.digest],))

    found = list_candidates(
        [linux, server], read_index=read_index, read_platform=lambda _: Platform("windows", "amd64")
    )
    assert select(found, parse_platform("ltsc2022")).chosen.descriptor is silent
    with pytest.raises(NotFoundError):
        select(found, parse_platform("ltsc2019"))
    with pytest.raises(NotFoundError):
        select(found[:1], parse_platform("ltsc2022"))


def test_a_nested_index_that_attests_something_is_not_opened() -> None:
    attests = Descriptor(OCI_INDEX, digest_of(b"a"), 1, annotations={"vnd.docker.reference.type": "x"})
    config = Descriptor(DOCKER_CONFIG, digest_of(b"c"), 1, platform=Platform("windows", "amd64"))

    def never(one: Descriptor) -> Index:
        raise AssertionError(one)

    (found,) = list_candidates([attests, config], read_index=never, read_platform=lambda _: None)
    assert found.descriptor is config


quads = st.builds("{}.{}.{}.{}".format, *[st.sampled_from([0, 6, 10, 256])] * 2, st.integers(14000, 66000), st.just(1))
versions = st.one_of(st.just(""), st.text("0123456789.x", max_size=12), quads)


@given(versions, versions, st.booleans())
def test_a_verdict_is_the_rule_with_words(image: str, host: str, hyperv: bool) -> None:
    verdict = judge(Platform("windows", "amd64", os_version=image), PlatformSpec(os_version=host), hyperv=hyperv)
    assert verdict.cause in get_args(Cause)
    if len(host.split(".")) >= 3 or not host:
        assert verdict.runs == host_accepts(host, image, hyperv=hyperv)


@given(st.lists(st.sampled_from(IMAGES), min_size=1, max_size=6), st.sampled_from(list(PROCESS)), st.booleans())
def test_the_choice_fits_and_nothing_that_fits_is_newer(images: list[int], host: int, hyperv: bool) -> None:
    wanted = parse_platform(str(host))
    found = [entry(f"10.0.{image}.{number}") for number, image in enumerate(images)]
    platforms = [one.platform for one in found if one.platform]
    fitting = [one for one in platforms if judge(one, wanted, hyperv=hyperv).runs]
    if not fitting:
        with pytest.raises(NotFoundError) as caught:
            select(found, wanted, hyperv=hyperv)
        assert all(format_platform(one) in str(caught.value) for one in platforms)
        return
    chosen = select(found, wanted, hyperv=hyperv).chosen.platform
    assert chosen in fitting
    assert chosen is not None
    assert int(chosen.os_version.split(".")[2]) == max(int(one.os_version.split(".")[2]) for one in fitting)
