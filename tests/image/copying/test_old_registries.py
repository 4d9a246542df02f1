"""A registry that knows Docker's manifests only gets such, and it is said; no other refusal leads to that."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator

import pytest

from tests.image.copying.places import Places, contents, document, root_digest, windows_index
from tests.oci.samples import WINDOWS, layer_tar, write_image
from tests.registries.scripted import Asked, Reply, Scripted, serve
from wclayer.errors import NetworkError, UnsupportedError
from wclayer.image.copying import CopyOptions, copy_image
from wclayer.image.copying.recompressing import recompress_image
from wclayer.oci import Manifest, Platform
from wclayer.oci.digests import digest_of


class Registry:
    """Keeps all in memory. ``judge`` says with which status and code a manifest is refused, None when it is not."""

    def __init__(self, judge: Callable[[str], tuple[int, str] | None]) -> None:
        self._judge = judge
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self._numbers = itertools.count()
        self._sessions: dict[str, bytes] = {}

    def __call__(self, asked: Asked) -> Reply:
        path, _, query = asked.path.partition("?")
        if path == "/v2/":
            return Reply()
        kind, _, name = path.removeprefix("/v2/app/").partition("/")
        if kind == "manifests":
            return self._manifest(asked, name)
        if name.startswith("uploads/"):
            return self._upload(asked, name, query)
        blob = self.blobs.get(name)
        return Reply(404) if blob is None else Reply(200, blob)

    def _upload(self, asked: Asked, name: str, query: str) -> Reply:
        if asked.method == "POST":
            name = f"uploads/{next(self._numbers)}"
            self._sessions[name] = b""
        elif asked.method == "PATCH":
            self._sessions[name] += asked.body
        elif asked.method == "PUT":
            data = self._sessions[name] + asked.body
            digest = str(digest_of(data))
            assert digest in query.replace("%3A", ":")
            self.blobs[digest] = data
            return Reply(201, headers={"Docker-Content-Digest": digest})
        end = max(len(self._sessions[name]) - 1, 0)
        return Reply(202, headers={"Location": f"/v2/app/blobs/{name}", "Range": f"0-{end}"})

    def _manifest(self, asked: Asked, name: str) -> Reply:
        if asked.method in ("GET", "HEAD"):
            found = self.manifests.get(name)
            if found is None:
                return Reply(404)
            return Reply(200, found[1], {"Content-Type": found[0], "Docker-Content-Digest": str(digest_of(found[1]))})
        media_type = asked.headers["content-type"]
        refusal = self._judge(media_type)
        if refusal is not None:
            return Reply(refusal[0], json.dumps({"errors": [{"code": refusal[1], "message": "no"}]}).encode())
        for place in (name, str(digest_of(asked.body))):
            self.manifests[place] = (media_type, asked.body)
        return Reply(201, headers={"Docker-Content-Digest": str(digest_of(asked.body))})


def only_docker(status: int, code: str) -> Callable[[str], tuple[int, str] | None]:
    return lambda media_type: None if "docker" in media_type else (status, code)


@pytest.fixture(params=[(415, "UNSUPPORTED"), (400, "MANIFEST_INVALID"), (405, "UNSUPPORTED")], ids=lambda one: one[1])
def old(request: pytest.FixtureRequest) -> Iterator[Scripted]:
    with serve(Registry(only_docker(*request.param))) as started:
        yield started


def index_of(places: Places) -> str:
    layout = places.folder / "index"
    windows_index(layout)
    target = places.new("oci")
    copy_image(f"oci:{layout}:all", target, CopyOptions(platforms=("ltsc2022", "ltsc2025")))
    return target


def test_an_image_gets_dockers_types_and_keeps_its_blobs(old: Scripted, places: Places) -> None:
    write_image(places.folder / "s", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    source, target = f"oci:{places.folder / 's'}:t", f"docker://{old.host}/app:t"
    result = copy_image(source, target)
    assert result.media_type == "application/vnd.docker.distribution.manifest.v2+json"
    assert result.changed == {root_digest(source): result.digest}
    assert any("OCI manifests are refused there" in note for note in result.notes)
    assert root_digest(target) == result.digest
    assert contents(target) == contents(source)
    new, before = document(target), document(source)
    assert isinstance(new, Manifest)
    assert isinstance(before, Manifest)
    assert [layer.digest for layer in new.layers] == [layer.digest for layer in before.layers]
    assert re.search("docker", new.layers[0].media_type)


def test_an_index_becomes_a_manifest_list(old: Scripted, places: Places) -> None:
    source, target = index_of(places), f"docker://{old.host}/app:t"
    result = copy_image(source, target, CopyOptions(all_platforms=True))
    assert result.media_type == "application/vnd.docker.distribution.manifest.list.v2+json"
    assert contents(target) == contents(source)
    platforms = [entry.platform for entry in document(target).manifests]  # type: ignore[union-attr]
    assert platforms == [Platform("windows", "amd64", os_version=v) for v in ("10.0.20348.3091", "10.0.26100.1742")]


def test_digests_that_must_stay_forbid_it(old: Scripted, places: Places) -> None:
    write_image(places.folder / "s", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    with pytest.raises(UnsupportedError, match="Docker's manifests"):
        copy_image(f"oci:{places.folder / 's'}:t", f"docker://{old.host}/app:t", CopyOptions(preserve_digests=True))


def test_what_docker_has_no_types_for_is_refused(old: Scripted, places: Places) -> None:
    write_image(places.folder / "s", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    with pytest.raises(UnsupportedError, match="Docker's manifests"):
        recompress_image(f"oci:{places.folder / 's'}:t", f"docker://{old.host}/app:t", "zstd")


def test_a_refusal_for_another_reason_stays_one(places: Places) -> None:
    write_image(places.folder / "s", [layer_tar("a")], name="t", entry_platform=WINDOWS)
    registry = Registry(lambda _: (400, "NAME_INVALID"))
    with serve(registry) as started, pytest.raises(NetworkError, match="HTTP 400"):
        copy_image(f"oci:{places.folder / 's'}:t", f"docker://{started.host}/app:t")
    assert registry.manifests == {}
