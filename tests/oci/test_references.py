from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import UsageError
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.references import Reference, looks_like_registry, parse_reference, split_name

DIGEST = digest_of(b"x")
D = str(DIGEST)
SHA512 = digest_of(b"x", "sha512")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("oci:dir", Reference("oci", "dir")),
        ("oci:dir:tag", Reference("oci", "dir", "tag")),
        ("oci:/a/b:example.invalid:5000/app:1", Reference("oci", "/a/b", "example.invalid:5000/app:1")),
        (f"oci:dir@{D}", Reference("oci", "dir", digest=DIGEST)),
        (f"oci:dir:tag@{D}", Reference("oci", "dir", "tag", DIGEST)),
        (f"oci:dir@{SHA512}", Reference("oci", "dir", digest=SHA512)),
        ("oci:C:\\images\\x", Reference("oci", "C:\\images\\x")),
        ("oci:C:\\images\\x:tag", Reference("oci", "C:\\images\\x", "tag")),
        ("oci:c:/images:tag", Reference("oci", "c:/images", "tag")),
        ("oci:a@b:tag", Reference("oci", "a@b", "tag")),
        ("oci-archive:x.tar", Reference("oci-archive", "x.tar")),
        ("oci-archive:x.tar:app:1", Reference("oci-archive", "x.tar", "app:1")),
        ("docker-archive:x.tar", Reference("docker-archive", "x.tar")),
        ("docker-archive:x.tar:app:1", Reference("docker-archive", "x.tar", "app:1")),
        ("docker-archive:x.tar:@2", Reference("docker-archive", "x.tar", number=2)),
        ("docker-archive:-", Reference("docker-archive", "-")),
        ("dir:/a:b", Reference("dir", "/a:b")),
        ("-", Reference("stdin", "-")),
        ("docker://example.invalid/app:1", Reference("registry", "example.invalid/app:1")),
        (f"docker://app@{D}", Reference("registry", f"app@{D}")),
        ("docker-daemon:app:1", Reference("daemon", "docker-daemon:app:1")),
        ("containers-storage:app:1", Reference("daemon", "containers-storage:app:1")),
        ("./layer.tar", Reference("path", "./layer.tar")),
        ("example.invalid/app:1", Reference("path", "example.invalid/app:1")),
        ("OCI:dir", Reference("path", "OCI:dir")),
    ],
)
def test_references_as_skopeo_spells_them(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\0b",
        "oci:",
        "oci::tag",
        "oci-archive:",
        "docker-archive:",
        "docker-archive::app",
        "docker-archive:x:@x",
        "docker-archive:x:@-1",
        "docker-archive:x:@\u0661",
        "dir:",
        "docker:app",
        "docker://",
        "docker:///app",
        "docker://UPPER case",
        "oci:dir@sha256:00",
        "oci:dir:tag@sha256:zz",
        f"oci:dir@md5:{D[7:]}",
        "oci:@" + D,
    ],
)
def test_what_is_no_reference_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("a", ("a", "")),
        ("a:b:c", ("a", "b:c")),
        ("C:/a", ("C:/a", "")),
        ("C:a", ("C", "a")),
        ("C:\\a:b", ("C:\\a", "b")),
        (f"a@{D}", (f"a@{D}", "")),
        ("", ("", "")),
    ],
)
def test_a_name_follows_the_first_colon(text: str, split: tuple[str, str]) -> None:
    assert split_name(text) == split


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("app", True),
        ("app:1", True),
        ("example.invalid/team/app:1.0-rc_2", True),
        ("localhost:5000/app", True),
        (f"app@{D}", True),
        ("a__b/c.d/e--f", True),
        ("./app", False),
        ("/app", False),
        ("../app", False),
        ("Folder", False),
        ("C:\\app", False),
        ("a b", False),
        ("app:", False),
        ("app//x", False),
    ],
)
def test_names_of_images_are_recognised(text: str, is_one: bool) -> None:
    assert looks_like_registry(text) is is_one


paths = st.from_regex(r"[A-Za-z0-9._/][A-Za-z0-9._/ -]{1,12}", fullmatch=True)
names = st.just("") | st.from_regex(r"[a-z0-9._/:-]{1,12}", fullmatch=True)
digests = st.none() | st.binary().map(digest_of)


@given(st.sampled_from(["oci", "oci-archive"]), paths, names, digests)
def test_a_reference_is_parsed_back(transport: str, path: str, name: str, digest: Digest | None) -> None:
    reference = Reference(transport, path, name, digest)  # type: ignore[arg-type]
    assert parse_reference(str(reference)) == reference


@given(st.text() | st.from_regex(r"(oci|oci-archive|docker-archive|dir|docker):[^\n]{0,20}", fullmatch=True))
def test_parsing_raises_nothing_but_usage_errors(text: str) -> None:
    try:
        reference = parse_reference(text)
    except UsageError:
        return
    assert parse_reference(str(reference)) == reference
    looks_like_registry(text)


@pytest.mark.parametrize(
    "text",
    [
        "docker://anna:secret@registry.example.com/x:v1",
        "docker:anna:secret@registry.example.com/x",
        "anna:secret@localhost/x",
        "anna-b:secret@127.0.0.1:5000/x:v1",
        "anna:secret@[::1]:5000/x",
        "https://anna:secret@registry.example.com/x",
        "anna:secret@host:5000/x",
        "anna:secret@registry.example.com",
    ],
)
def test_a_password_in_a_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert "secret" not in str(caught.value)
    assert "--password-stdin" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "oci:folder@example.com/x",
        "docker-archive:a@b.c/x",
        "dir:a@b.c/x",
        "C:\\Users\\anna@example.com/x",
        "registry.example.com/x:v1@sha256:" + "0" * 64,
        "localhost:5000/x:v1@sha256:" + "0" * 64,
        "x:v1@sha256:" + "0" * 64,
        "./a:b@c.d/e",
    ],
)
def test_other_references_with_an_at_sign_are_none(text: str) -> None:
    assert str(parse_reference(text)) == text


def test_the_tag_of_a_reference_and_another_one() -> None:
    remote = parse_reference("docker://localhost:5000/a/b:v1@sha256:" + "0" * 64)
    assert (remote.tag, str(remote.renamed("v2"))) == ("v1", "docker://localhost:5000/a/b:v2")
    plain = parse_reference("docker://localhost:5000/a/b")
    assert (plain.tag, str(plain.renamed("v2"))) == ("", "docker://localhost:5000/a/b:v2")
    layout = parse_reference("oci:folder:v1")
    assert (layout.tag, str(layout.renamed("v2"))) == ("v1", "oci:folder:v2")
