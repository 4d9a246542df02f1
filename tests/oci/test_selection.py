from __future__ import annotations

import pytest

from wclayer.errors import LimitError, NotFoundError
from wclayer.oci.descriptors import Descriptor, Index, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.mediatypes import OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from wclayer.oci.platforms import parse_platform
from wclayer.oci.selection import Candidate, list_candidates, select


def entry(
    version: str | None = None,
    *,
    os: str = "windows",
    arch: str = "amd64",
    variant: str = "",
    features: tuple[str, ...] = (),
) -> Descriptor:
    platform = Platform(os, arch, variant, version or "", features)
    return Descriptor(OCI_MANIFEST, digest_of(repr(platform).encode()), 1, platform=platform)


def candidates(*entries: Descriptor) -> list[Candidate]:
    return [Candidate(one, one.platform) for one in entries]


def versions(*texts: str) -> list[Candidate]:
    return candidates(*(entry(text) for text in texts))


def chosen(found: list[Candidate], wanted: str, *, hyperv: bool = False) -> str:
    platform = select(found, parse_platform(wanted), hyperv=hyperv).chosen.platform
    assert platform is not None
    return platform.os_version


MCR = versions("10.0.17763.6414", "10.0.20348.999", "10.0.20348.3091", "10.0.14393.7428", "10.0.26100.2033")


@pytest.mark.parametrize(
    ("wanted", "version"),
    [
        ("windows/amd64", "10.0.26100.2033"),
        ("windows/amd64:10.0", "10.0.26100.2033"),
        ("ltsc2016", "10.0.14393.7428"),
        ("ltsc2019", "10.0.17763.6414"),
        ("ltsc2022", "10.0.20348.3091"),  # as text 999 would be the larger
        ("windows/amd64:10.0.20348.999", "10.0.20348.999"),
        ("windows/amd64:10.0.20348.5", "10.0.20348.3091"),
        ("23h2", "10.0.20348.3091"),
        ("ltsc2025", "10.0.26100.2033"),
        ("windows(10.0.26200)/amd64", "10.0.26100.2033"),
    ],
)
def test_the_best_version_for_the_host_is_chosen(wanted: str, version: str) -> None:
    assert chosen(MCR, wanted) == version


def test_hyperv_widens_the_choice() -> None:
    old = versions("10.0.17763.1")
    assert chosen(old, "ltsc2025", hyperv=True) == "10.0.17763.1"
    with pytest.raises(NotFoundError):
        chosen(old, "ltsc2025")


def test_a_choice_among_several_is_told() -> None:
    notes = select(MCR, parse_platform("windows/amd64")).notes
    assert len(notes) == 1
    assert "chose windows(10.0.26100.2033)/amd64" in notes[0]
    assert "windows(10.0.14393.7428)/amd64" in notes[0]
    assert select(versions("10.0.20348.1"), parse_platform("ltsc2022")).notes == ()


def test_another_build_than_the_one_asked_for_is_told() -> None:
    notes = select(versions("10.0.20348.1"), parse_platform("ltsc2025")).notes
    assert notes == ("no image of build 26100: windows(10.0.20348.1)/amd64 runs there too",)


def test_an_image_without_a_version_is_the_last_resort_and_told() -> None:
    assert chosen(candidates(entry(), entry("10.0.20348.1")), "ltsc2022") == "10.0.20348.1"
    notes = select(candidates(entry()), parse_platform("ltsc2022")).notes
    assert notes == ("windows/amd64 does not say its version: taken for windows(10.0.20348)/amd64",)


def test_nothing_fitting_is_an_error_that_lists_what_there_is_by_number() -> None:
    found = candidates(entry("10.0.20348.1"), entry("10.0.9999.1"), entry(os="linux"), entry("10.0.20348.1"))
    with pytest.raises(NotFoundError) as caught:
        select(found, parse_platform("ltsc2019"))
    assert "there are linux/amd64, windows(10.0.9999.1)/amd64, windows(10.0.20348.1)/amd64" in str(caught.value)
    with pytest.raises(NotFoundError, match="no image at all"):
        select([], parse_platform("ltsc2019"))


@pytest.mark.parametrize("text", ["17763", "10.0.17763x"])
def test_an_image_version_that_cannot_be_read_matches_no_version(text: str) -> None:
    with pytest.raises(NotFoundError):
        chosen(versions(text), "ltsc2019")
    assert chosen(versions(text), "windows/amd64") == text


def test_the_feature_win32k_is_no_obstacle_and_every_other_is() -> None:
    found = candidates(entry("10.0.17763.1", features=("win32k",)))
    assert chosen(found, "ltsc2019") == "10.0.17763.1"
    found = candidates(entry("10.0.17763.1", features=("win32k", "gpu")))
    with pytest.raises(NotFoundError):
        chosen(found, "ltsc2019")
    assert chosen(found, "windows(10.0.17763+gpu+other)/amd64") == "10.0.17763.1"


def test_architecture_and_variant_must_fit() -> None:
    found = candidates(entry("1.0.1", arch="arm64"), entry("1.0.1", variant="v3"), entry("1.0.1", arch="x86_64"))
    assert select(found, parse_platform("windows/amd64")).chosen is found[2]
    assert select(found, parse_platform("windows/amd64/v3")).chosen is found[1]
    assert select(found, parse_platform("windows/aarch64")).chosen is found[0]
    assert select(found[2:], parse_platform("windows/amd64/v3")).chosen is found[2]
    with pytest.raises(NotFoundError):  # code for a newer processor than the one that was named
        select(found[1:2], parse_platform("windows/amd64"))


def test_the_first_of_equals_is_chosen() -> None:
    first = Descriptor(OCI_MANIFEST, digest_of(b"1"), 1, platform=Platform("linux", "amd64"))
    second = Descriptor(OCI_MANIFEST, digest_of(b"2"), 1, platform=Platform("linux", "amd64"))
    assert select(candidates(first, second), parse_platform("linux/amd64")).chosen.descriptor is first
    assert select(candidates(second, first), parse_platform("linux/amd64")).chosen.descriptor is second


def test_versions_of_other_systems_are_compared_as_text() -> None:
    found = candidates(entry("7", os="linux"))
    assert chosen(found, "linux(7)/amd64") == "7"
    with pytest.raises(NotFoundError):
        chosen(found, "linux(7.0)/amd64")


def no_index(_: Descriptor) -> Index:
    raise AssertionError("no nested index here")


def no_platform(_: Descriptor) -> Platform | None:
    raise AssertionError("every entry says its platform")


def test_what_is_no_image_is_passed_over() -> None:
    image = entry("10.0.1.1")
    entries = [
        entry(os="unknown", arch="unknown"),
        Descriptor(OCI_MANIFEST, digest_of(b"a"), 1, annotations={"vnd.docker.reference.type": "attestation-manifest"}),
        Descriptor(OCI_MANIFEST, digest_of(b"b"), 1, artifact_type="application/x"),
        Descriptor(OCI_LAYER_GZIP, digest_of(b"c"), 1),
        Descriptor("application/x", digest_of(b"d"), 1),
        image,
    ]
    found = list_candidates(entries, read_index=no_index, read_platform=no_platform)
    assert [one.descriptor for one in found] == [image]


def test_an_entry_without_a_platform_is_asked() -> None:
    silent = Descriptor(OCI_MANIFEST, digest_of(b"a"), 1)
    artifact = Descriptor(OCI_MANIFEST, digest_of(b"b"), 1)
    answers = {silent.digest: Platform("windows", "amd64", "", "10.0.1.1"), artifact.digest: None}
    found = list_candidates([silent, artifact], read_index=no_index, read_platform=lambda one: answers[one.digest])
    assert [(one.descriptor, str(one)) for one in found] == [(silent, "windows(10.0.1.1)/amd64")]


def index_of(*entries: Descriptor) -> Index:
    return Index(b"", digest_of(b""), OCI_INDEX, entries)


def test_nested_indexes_are_opened_once_and_in_order() -> None:
    nested = Descriptor(OCI_INDEX, digest_of(b"nested"), 1)
    first, inner, last = entry("1.0.1"), entry("1.0.2"), entry("1.0.3")
    found = list_candidates(
        [first, nested, last, nested],
        read_index=lambda _: index_of(inner, nested),  # it also holds itself, which no honest index can
        read_platform=no_platform,
    )
    assert [one.descriptor for one in found] == [first, inner, last]


def test_an_index_without_end_is_a_limit_error() -> None:
    def deeper(descriptor: Descriptor) -> Index:
        return index_of(Descriptor(OCI_INDEX, digest_of(str(descriptor.digest).encode()), 1))

    with pytest.raises(LimitError, match="nested"):
        list_candidates([deeper(entry()).manifests[0]], read_index=deeper, read_platform=no_platform)
    with pytest.raises(LimitError, match="entries"):
        list_candidates([entry()] * 20_000, read_index=no_index, read_platform=no_platform)
