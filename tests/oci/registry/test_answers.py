"""What no registry may answer ends in the right error, which says where it came from; and never in a wrong document."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.registries.content import SETTINGS
from tests.registries.scripted import Asked, Reply, Scripted, serve
from wclayer.errors import (
    AuthenticationError,
    DigestMismatchError,
    FormatError,
    LimitError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    WclayerError,
)
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from wclayer.oci.registry import RegistryClient, RegistrySettings, Repository, Secret, parse_registry_name

MANIFEST = encode_json(
    {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(digest_of(b"{}")), "size": 2},
        "layers": [],
    }
)
DIGEST = digest_of(MANIFEST)
PASSWORD = "correct horse"  # noqa: S105 - of nobody


def fails(
    act: Callable[[Repository], object],
    script: Callable[[Asked], Reply],
    settings: RegistrySettings = SETTINGS,
) -> WclayerError:
    """The error that ``act`` ends with, which names the registry and the repository."""
    with serve(script) as server, RegistryClient(settings) as client:
        with pytest.raises(WclayerError) as caught:
            act(client.repository(parse_registry_name(f"{server.host}/some/where:one")))
        assert f"{server.host}/some/where" in str(caught.value)
        return caught.value


def gives(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda _: reply


def manifest(body: bytes = MANIFEST, kind: str = OCI_MANIFEST, **headers: str) -> Reply:
    return Reply(
        200, body, {"Content-Type": kind, **{name.replace("_", "-"): value for name, value in headers.items()}}
    )


def by_tag(repository: Repository) -> object:
    return repository.get_manifest("one")


def put(repository: Repository) -> object:
    return repository.put_manifest(MANIFEST, OCI_MANIFEST, "one")


def by_digest(repository: Repository) -> object:
    return repository.get_manifest(DIGEST)


@pytest.mark.parametrize(
    ("act", "reply", "error", "words"),
    [
        (by_digest, manifest(MANIFEST + b"\n"), DigestMismatchError, "was promised"),
        (by_tag, manifest(Docker_Content_Digest=str(digest_of(b""))), DigestMismatchError, "was promised"),
        (by_tag, manifest(Docker_Content_Digest="sha256:abc"), NetworkError, "a digest that is none"),
        (by_tag, manifest(Docker_Content_Digest="../../etc"), NetworkError, "a digest that is none"),
        (by_tag, manifest(b"<html>", "text/html; charset=utf-8"), NetworkError, "a web page"),
        (by_tag, manifest(b"{"), FormatError, "not JSON"),
        (by_tag, manifest(b"[]"), FormatError, "an object is expected"),
        (by_tag, manifest(b'{"a":1,"a":2}'), FormatError, "given twice"),
        (by_tag, manifest(b"[" * 100_000), LimitError, "nested deeper"),
        (by_tag, manifest(kind=DOCKER_MANIFEST), FormatError, "was announced"),
        (by_tag, manifest(MANIFEST[:-1] + b',"manifests":[]}'), FormatError, "both a manifest and an index"),
        (by_tag, manifest(MANIFEST.replace(b":2,", b":1,", 1)), FormatError, "schemaVersion"),
        (by_tag, manifest(b'{"schemaVersion":1,"fsLayers":[]}', "application/json"), UnsupportedError, "schema 1"),
        (by_tag, Reply(200, b" " * ((8 << 20) + 1)), LimitError, "8388609 bytes, more than"),
        (by_tag, Reply(200, b" " * ((8 << 20) + 1), length=-1), LimitError, "is larger than"),
        (by_tag, Reply(200, MANIFEST, length=len(MANIFEST) + 1), NetworkError, "in the middle of the answer"),
        (by_digest, Reply(200, MANIFEST, length=len(MANIFEST) - 1), DigestMismatchError, "was promised"),
        (by_tag, Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), NetworkError, "not an answer"),
        (by_tag, Reply(raw=b"HTTP/1.1 200 OK\r\nA: " + b"b" * 70_000 + b"\r\n\r\n"), NetworkError, "not an answer"),
        (by_tag, Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"), NetworkError, "not an answer"),
        (by_tag, Reply(raw=b""), NetworkError, "without an answer"),
        (by_tag, Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}"), NetworkError, ""),
        (
            by_tag,
            Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\r\n"),
            NetworkError,
            "middle of the answer",
        ),
        (by_tag, Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), NetworkError, ""),
        (by_tag, Reply(204), NetworkError, "HTTP 204"),
        (by_tag, Reply(302), NetworkError, "without saying where"),
        (by_tag, Reply(418, b"a teapot", {"Content-Type": "text/plain"}), NetworkError, "HTTP 418.*a teapot"),
        (by_tag, Reply(404), NotFoundError, "not found or no access"),
        (by_tag, Reply(403), AuthenticationError, "denies .* without credentials"),
        (by_tag, Reply(401), AuthenticationError, "wants to know who asks"),
        (by_tag, Reply(401, headers={"WWW-Authenticate": "Negotiate"}), AuthenticationError, "not known: negotiate"),
        (by_tag, Reply(405), UnsupportedError, "does not support it"),
        (by_tag, Reply(500), NetworkError, "internal server error"),
        (put, Reply(201, headers={"Docker-Content-Digest": str(digest_of(b""))}), NetworkError, "stored the manifest"),
        (lambda there: list(there.tags()), Reply(200, b'{"tags":"one"}'), FormatError, "an array is expected"),
        (lambda there: list(there.tags()), Reply(200, b'{"tags":["../one"]}'), FormatError, "not a name"),
        (lambda there: list(there.tags()), Reply(200, b'{"tags":["a\\u001b[31m"]}'), FormatError, "not a name"),
        (lambda there: list(there.tags()), Reply(200, b" " * ((8 << 20) + 1)), LimitError, "more than"),
        (lambda there: there.referrers(DIGEST), Reply(200, b'{"manifests":[{}]}'), FormatError, "a string is expected"),
    ],
)  # fmt: skip
def test_what_no_registry_may_answer(
    act: Callable[[Repository], object], reply: Reply, error: type[WclayerError], words: str
) -> None:
    found = fails(act, gives(reply))
    assert type(found) is error or (error is NetworkError and isinstance(found, NetworkError)), found
    assert re.search(words, found.message)


def test_what_a_registry_says_is_quoted_short_and_printable() -> None:
    errors = [{"code": "DENIED", "message": f"no\x1b[31m way {'x' * 5000}"}, "odd", {"code": None}]
    found = fails(by_tag, gives(Reply(403, json.dumps({"errors": errors}).encode())))
    assert "DENIED: no [31m way xxx" in found.message
    assert len(found.message) < 600
    assert found.message.isprintable()


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[1, 2]", b'{"errors": 3}', b"[" * 60_000, b"x" * (1 << 20), b'{"errors": [[]]}']
)
def test_an_explanation_that_is_none_is_left_out(body: bytes) -> None:
    found = fails(by_tag, gives(Reply(400, body, {"Content-Type": "application/json"})))
    assert "bad request" in found.message
    assert len(found.message) < 500


def test_an_echoed_password_is_not_shown() -> None:
    settings = replace(SETTINGS, username="anna", password=Secret(PASSWORD))

    def script(asked: Asked) -> Reply:
        if "authorization" not in asked.headers:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="here"'})
        words = f"{PASSWORD} and {asked.headers['authorization']}"
        return Reply(403, json.dumps({"errors": [{"code": "DENIED", "message": words}]}).encode())

    found = fails(by_tag, script, settings)
    assert "DENIED: *** and Basic ***" in found.message


def test_a_manifest_without_a_type_says_itself_what_it_is() -> None:
    for kind in ("application/json", "application/octet-stream", "text/plain; charset=utf-8"):
        with serve(gives(manifest(kind=kind))) as server, RegistryClient(SETTINGS) as client:
            found = client.repository(parse_registry_name(f"{server.host}/a:one")).get_manifest("one")
            assert (found.media_type, found.digest) == (OCI_MANIFEST, DIGEST)


def test_other_algorithms_are_believed_when_they_are_right() -> None:
    long = digest_of(MANIFEST, "sha512")
    with serve(gives(manifest(Docker_Content_Digest=str(long)))) as server, RegistryClient(SETTINGS) as client:
        there = client.repository(parse_registry_name(f"{server.host}/a:one"))
        assert there.get_manifest("one").digest == long
        assert there.get_manifest(long).digest == long
    unknown = manifest(Docker_Content_Digest="blake3:" + "0" * 64)
    with serve(gives(unknown)) as server, RegistryClient(SETTINGS) as client:
        there = client.repository(parse_registry_name(f"{server.host}/a:one"))
        assert there.get_manifest("one").digest == DIGEST


@pytest.mark.parametrize("missing", ["digest", "type", "length", "head"])
def test_a_head_that_says_too_little_is_followed_by_a_get(missing: str) -> None:
    def script(asked: Asked) -> Reply:
        full = manifest(Docker_Content_Digest=str(DIGEST))
        if asked.method == "GET":
            return full
        if missing == "head":
            return Reply(405)
        gone = {"digest": "Docker-Content-Digest", "type": "Content-Type"}.get(missing)
        headers = {name: value for name, value in full.headers.items() if name != gone}
        return Reply(200, b"", headers, length=-1 if missing == "length" else len(MANIFEST))

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        found = client.repository(parse_registry_name(f"{server.host}/a:one")).head_manifest("one")
        assert found == Descriptor(OCI_MANIFEST, DIGEST, len(MANIFEST))
        assert [asked.method for asked in server.asked] == ["HEAD", "GET"]


def test_a_head_for_another_digest_is_an_error() -> None:
    other = manifest(Docker_Content_Digest=str(digest_of(b"")))
    found = fails(lambda there: there.head_manifest(DIGEST), gives(other))
    assert isinstance(found, NetworkError)


# ----------------------------------------------------------------------------------------------------------- lists


def _tags(script: Callable[[Asked], Reply]) -> tuple[list[str], Scripted]:
    with serve(script) as server, RegistryClient(SETTINGS) as client:
        return list(client.repository(parse_registry_name(f"{server.host}/a")).tags()), server


def test_pages_are_followed() -> None:
    def script(asked: Asked) -> Reply:
        if "last=2" in asked.path:
            return Reply(200, b'{"tags":["2","3"]}')
        return Reply(200, b'{"tags":["1","2"]}', {"Link": '</v2/a/tags/list?n=2&last=2>; rel="next"'})

    tags, server = _tags(script)
    assert tags == ["1", "2", "3"]
    assert server.lines == ["GET /v2/a/tags/list?n=1000", "GET /v2/a/tags/list?n=2&last=2"]


def test_no_tags_may_be_null() -> None:
    assert _tags(gives(Reply(200, b'{"name":"a","tags":null}')))[0] == []


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("</v2/some/where/tags/list?n=1000>; rel=next", "in a circle"),
        ("<?n=1>; rel=next", "in a circle"),
        ("<http://registry.example.com/v2/some/where/tags/list>; rel=next", "at another host"),
        ("<file:///etc/passwd>; rel=next", "at another host"),
        ("<http://[/>; rel=next", "at another host"),
    ],
)
def test_pages_that_lead_nowhere(link: str, words: str) -> None:
    found = fails(lambda there: list(there.tags()), gives(Reply(200, b'{"tags":["1"]}', {"Link": link})))
    assert isinstance(found, NetworkError)
    assert words in found.message


def test_too_many_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.oci.registry.listing._PAGES", 5)
    count = iter(range(100))
    found = fails(
        lambda there: list(there.tags()),
        lambda _: Reply(200, b'{"tags":[]}', {"Link": f"</v2/some/where/tags/list?last={next(count)}>; rel=next"}),
    )
    assert isinstance(found, LimitError)


# ------------------------------------------------------------------------------------------------------- referrers


def _entry(kind: str) -> dict[str, object]:
    return Descriptor(OCI_MANIFEST, digest_of(kind.encode()), 3, artifact_type=kind).to_json()


def test_referrers_are_asked_for_and_filtered() -> None:
    def script(asked: Asked) -> Reply:
        second = "last=" in asked.path
        entries = [_entry("two")] if second else [_entry("one")]
        link = {} if second else {"Link": f"{asked.path}&last=1".join("<>") + "; rel=next"}
        filtered = {"OCI-Filters-Applied": "artifactType"}
        body = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
        return Reply(200, body, {"Content-Type": OCI_INDEX, **link, **filtered})

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        there = client.repository(parse_registry_name(f"{server.host}/a"))
        assert [one.artifact_type for one in there.referrers(DIGEST, "two").manifests] == ["two"]
        assert server.asked[0].path == f"/v2/a/referrers/{DIGEST}?artifactType=two"


def test_a_registry_that_knows_referrers_lists_them_itself() -> None:
    subject = Descriptor(OCI_MANIFEST, DIGEST, len(MANIFEST))
    raw = MANIFEST[:-1] + b',"subject":' + encode_json(subject.to_json()) + b"}"

    def script(asked: Asked) -> Reply:
        return Reply(201, headers={"OCI-Subject": str(DIGEST)})

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        client.repository(parse_registry_name(f"{server.host}/a")).put_manifest(raw, OCI_MANIFEST, "one")
        assert server.lines == ["PUT /v2/a/manifests/one"]


def test_a_lost_race_for_the_list_of_referrers_is_run_again() -> None:
    subject = Descriptor(OCI_MANIFEST, DIGEST, len(MANIFEST))
    raw = MANIFEST[:-1] + b',"subject":' + encode_json(subject.to_json()) + b"}"
    lists: list[bytes] = []
    other = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_entry("another")]})

    def script(asked: Asked) -> Reply:
        if asked.method == "PUT":
            if "/sha256-" in asked.path:
                lists.append(asked.body)
            return Reply(201)
        if not lists:
            return Reply(404)
        # The first time somebody else's list takes the place of ours.
        return manifest(other if len(lists) == 1 else lists[-1], OCI_INDEX)

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        client.repository(parse_registry_name(f"{server.host}/a")).put_manifest(raw, OCI_MANIFEST, "one")
    last = json.loads(lists[-1])["manifests"]
    assert [entry["digest"] for entry in last] == [str(digest_of(b"another")), str(digest_of(raw))]


def test_blobs_are_asked_after() -> None:
    replies = {"1" * 64: Reply(200, length=7), "2" * 64: Reply(404), "3" * 64: Reply(200, length=-1)}

    def script(asked: Asked) -> Reply:
        return replies[asked.path.rpartition(":")[2]]

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        there = client.repository(parse_registry_name(f"{server.host}/a"))
        assert [there.has_blob(Digest("sha256", text)) for text in replies] == [7, None, -1]
