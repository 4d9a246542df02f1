"""Foreign layers: nothing becomes of their bytes that was not asked for, and nothing is left out without a word."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.copying.places import Places, contents, document, foreign_image, loaded, members, root_digest
from tests.oci.samples import layer_tar
from tests.registries.docker_registry import DockerRegistry, start_registry
from wclayer.errors import NetworkError, NotFoundError, UnsupportedError
from wclayer.image.copying import CopyOptions, CopyResult, copy_image
from wclayer.oci import Descriptor, Manifest, open_image
from wclayer.oci.network import Network
from wclayer.oci.registry.settings import RegistrySettings

URL = "https://example.invalid/base"


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry whose manifests may have addresses of any host."""
    with start_registry(tmp_path_factory.mktemp("allowing"), foreign_urls=True) as started:
        yield started


def manifest(reference: str) -> Manifest:
    found = document(reference)
    assert isinstance(found, Manifest)
    return found


def outcomes(result: CopyResult) -> dict[str, str]:
    return {str(blob.digest): blob.outcome for blob in result.blobs}


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "dir", "store"])
def test_keep_leaves_the_descriptor_and_not_the_bytes(kind: str, places: Places) -> None:
    digest, foreign = foreign_image(places.folder / "source")
    target = places.new(kind)
    result = copy_image(f"oci:{places.folder / 'source'}:foreign", target, CopyOptions(foreign="keep"))
    assert result.digest == digest == root_digest(target)
    assert outcomes(result)[str(foreign.digest)] == "left"
    assert any("1 foreign layers" in note and "left where they are" in note for note in result.notes)
    with open_image(target.replace("store:", "docker://"), network=Network(offline=True)) as image:
        assert [layer.is_available for layer in image.layers] == [False, True]


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "dir", "store"])
def test_fetch_copies_both_and_keeps_the_digest(kind: str, places: Places) -> None:
    digest, foreign = foreign_image(places.folder / "source")
    target = places.new(kind)
    result = copy_image(f"oci:{places.folder / 'source'}:foreign", target)
    assert result.digest == digest == root_digest(target)
    assert outcomes(result)[str(foreign.digest)] == "copied"
    assert any("license" in note for note in result.notes)
    assert contents(target) == contents(f"oci:{places.folder / 'source'}:foreign")


@pytest.mark.parametrize("policy", ["rewrite", "strip"])
@pytest.mark.parametrize("kind", ["oci", "oci-archive", "dir", "store", "registry", "docker-archive"])
def test_rewrite_and_strip_make_ordinary_layers(kind: str, policy: str, places: Places) -> None:
    source = f"oci:{places.folder / 'source'}:foreign"
    digest, foreign = foreign_image(places.folder / "source")
    target = places.new(kind)
    result = copy_image(source, target, CopyOptions(foreign=policy))  # type: ignore[arg-type]
    assert result.changed[digest] == result.digest == root_digest(target) != digest
    assert any(str(digest) in note and "becomes" in note for note in result.notes)
    layer = manifest(target).layers[0]
    assert layer.type.distributable
    assert not layer.urls
    if kind != "docker-archive":
        assert layer.digest == foreign.digest
        assert layer.media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"
        wanted = {"io.wclayer.foreign.urls": URL} if policy == "rewrite" else {}
        assert dict(layer.annotations) == wanted
    assert contents(target) == contents(source)


def test_an_address_of_an_ordinary_layer_goes_with_a_rewrite_too(places: Places) -> None:
    """For containers/image takes every layer with urls for a foreign one."""
    from wclayer.oci import LayoutWriter
    from wclayer.oci.documents import encode_manifest

    layout = places.folder / "source"
    foreign_image(layout)
    found = manifest(f"oci:{layout}:foreign")
    addressed = replace(found.layers[1], urls=("https://example.invalid/top",))
    raw = encode_manifest(found.config, [found.layers[0], addressed], media_type=found.media_type)
    LayoutWriter(layout).put_manifest(raw, name="addressed")
    target = places.new("oci")
    copy_image(f"oci:{layout}:addressed", target, CopyOptions(foreign="strip"))
    assert [layer.urls for layer in manifest(target).layers] == [(), ()]


def test_digests_that_must_stay_forbid_a_rewrite(places: Places) -> None:
    foreign_image(places.folder / "source")
    source, target = f"oci:{places.folder / 'source'}:foreign", places.new("oci")
    with pytest.raises(UnsupportedError, match="would become"):
        copy_image(source, target, CopyOptions(foreign="rewrite", preserve_digests=True))
    assert not Path(target.split(":")[1]).exists()


def test_a_missing_foreign_layer_without_an_address_is_an_error_that_names_it(places: Places) -> None:
    _, foreign = foreign_image(places.folder / "source", urls=(), present=False)
    source = f"oci:{places.folder / 'source'}:foreign"
    for policy in ("fetch", "rewrite", "strip"):
        target = places.new("oci")
        with pytest.raises(NotFoundError, match=str(foreign.digest)):
            copy_image(source, target, CopyOptions(foreign=policy))
        with pytest.raises(NotFoundError):
            root_digest(target)
    assert copy_image(source, places.new("oci"), CopyOptions(foreign="keep")).moved > 0


def test_a_registry_that_takes_no_addresses_says_what_to_do(places: Places) -> None:
    foreign_image(places.folder / "source")
    with pytest.raises((NetworkError, UnsupportedError)) as caught:
        copy_image(f"oci:{places.folder / 'source'}:foreign", places.new("registry"))
    assert "--foreign rewrite" in str(caught.value)


@pytest.mark.parametrize("policy", ["keep", "fetch"])
def test_a_registry_that_takes_addresses_gets_the_image_as_it_is(
    policy: str, places: Places, allowing: DockerRegistry
) -> None:
    digest, foreign = foreign_image(places.folder / "source")
    target = f"docker://{allowing.host}/{places.repository}:t"
    result = copy_image(f"oci:{places.folder / 'source'}:foreign", target, CopyOptions(foreign=policy))  # type: ignore[arg-type]
    assert result.digest == digest == root_digest(target)
    assert outcomes(result)[str(foreign.digest)] == ("left" if policy == "keep" else "copied")


# ------------------------------------------------------------------------------------------------ from their addresses


class Publisher:
    """A server that has one file."""

    def __init__(self, content: bytes) -> None:
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Silence."""

        self.asked = 0
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/blob"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    started = Publisher(gzip.compress(layer_tar("base"), mtime=0))
    yield started
    started.close()


def near() -> Network:
    """A network in which addresses of this machine may be followed."""
    return Network(RegistrySettings(allow_private_urls=True, plain_http=True, retry_delay=0.01))


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "dir", "docker-archive", "store"])
def test_a_layer_that_is_not_here_is_fetched_from_its_address(kind: str, places: Places, publisher: Publisher) -> None:
    foreign_image(places.folder / "source", urls=[publisher.url], present=False)
    source, target = f"oci:{places.folder / 'source'}:foreign", places.new(kind)
    foreign_image(places.folder / "whole", urls=[publisher.url])
    with near() as network:
        copy_image(source, target, source_network=network)
    assert publisher.asked == 1
    assert contents(target) == contents(f"oci:{places.folder / 'whole'}:foreign")


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "dir", "docker-archive", "registry"])
def test_a_registry_without_the_layer_leads_to_its_address(
    kind: str, places: Places, publisher: Publisher, allowing: DockerRegistry
) -> None:
    foreign_image(places.folder / "source", urls=[publisher.url], present=False)
    first = f"docker://{allowing.host}/{places.repository}:t"
    copy_image(f"oci:{places.folder / 'source'}:foreign", first, CopyOptions(foreign="keep"))
    target = places.new(kind)
    with near() as network:
        copy_image(first, target, CopyOptions(foreign="rewrite"), source_network=network, destination_network=network)
    assert publisher.asked >= 1
    assert len(contents(target)["10.0.20348.2700"]) == 3


def test_wrong_content_at_an_address_is_refused(places: Places) -> None:
    liar = Publisher(b"something else")
    try:
        foreign_image(places.folder / "source", urls=[liar.url], present=False)
        target = places.new("oci")
        with near() as network, pytest.raises(Exception, match=r"promised|bytes|digest") as caught:
            copy_image(f"oci:{places.folder / 'source'}:foreign", target, source_network=network)
        assert getattr(caught.value, "exit_code", None) == 6
    finally:
        liar.close()


# ------------------------------------------------------------------------------------------------ archives of docker


def saved(places: Places) -> tuple[str, Descriptor]:
    _, foreign = foreign_image(places.folder / "source")
    archive = places.new("docker-archive")
    copy_image(f"oci:{places.folder / 'source'}:foreign", archive)
    return archive, foreign


def test_an_archive_remembers_the_foreign_identity_and_holds_the_bytes(places: Places) -> None:
    archive, foreign = saved(places)
    path = Path(archive.split(":")[1])
    diff_id = contents(archive)["10.0.20348.2700"][1]
    (line,) = loaded(path, "manifest.json")
    assert line["LayerSources"] == {diff_id: json.loads(json.dumps(foreign.to_json()))}
    assert line["Layers"][0] == f"blobs/sha256/{diff_id.removeprefix('sha256:')}"
    found = members(path)
    assert line["Layers"][0] in found
    assert foreign.digest.blob_path not in found  # as docker has it: found through the DiffID


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "path"])
def test_a_foreign_layer_in_an_archive_is_found_through_its_diff_id(transport: str, places: Places) -> None:
    archive, _ = saved(places)
    path = archive.split(":")[1]
    reference = {"docker-archive": archive, "oci-archive": f"oci-archive:{path}:1", "path": path}[transport]
    with open_image(reference) as image:
        assert [layer.is_available for layer in image.layers] == [True, True]
    assert contents(reference) == contents(archive)
    target = places.new("oci")
    copy_image(reference, target, CopyOptions(foreign="strip"))
    assert contents(target) == contents(archive)
    with pytest.raises(NotFoundError, match="only uncompressed"):
        copy_image(reference, places.new("oci"))
    kept = places.new("oci")
    copy_image(reference, kept, CopyOptions(foreign="keep"))
    assert manifest(kept).layers[0].urls == (URL,)


def test_an_archive_copied_to_an_archive_is_the_same_archive(places: Places) -> None:
    archive, _ = saved(places)
    second = places.new("docker-archive")
    copy_image(archive, second)
    assert Path(second.split(":")[1]).read_bytes() == Path(archive.split(":")[1]).read_bytes()
