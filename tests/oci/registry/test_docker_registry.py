"""The client and a real registry: what is put there comes back, whoever has to be, however it is reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.registries.authority import Authority
from tests.registries.content import SETTINGS, put_blob, put_image, seed
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry
from tests.registries.token_server import IDENTITY_TOKEN, TokenServer
from wclayer.errors import AuthenticationError, NetworkError, NotFoundError, UnsupportedError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from wclayer.oci.registry import RegistryClient, RegistrySettings, Repository, Secret, parse_registry_name

WITH_PASSWORD = replace(SETTINGS, username=USER, password=Secret(PASSWORD))


def repository(client: RegistryClient, registry: DockerRegistry, name: str) -> Repository:
    return client.repository(parse_registry_name(registry.name(name)))


def test_what_is_put_comes_back(client: RegistryClient, registry: DockerRegistry, repository_name: str) -> None:
    there = repository(client, registry, repository_name)
    digest = put_image(there, [b"layer"], "one")
    by_tag, by_digest = there.get_manifest("one"), there.get_manifest(digest)
    assert by_tag == by_digest
    assert by_tag.digest == digest == digest_of(by_tag.raw)
    assert by_tag.media_type == OCI_MANIFEST
    assert there.head_manifest("one") == by_tag.descriptor == there.head_manifest(digest)
    assert there.has_blob(digest_of(b"layer")) == 5


def test_what_is_not_there_is_not_found(client: RegistryClient, registry: DockerRegistry, repository_name: str) -> None:
    there = repository(client, registry, repository_name)
    assert there.head_manifest("one") is None
    assert there.has_blob(digest_of(b"nothing")) is None
    with pytest.raises(NotFoundError, match="not found or no access: MANIFEST_UNKNOWN") as caught:
        there.get_manifest("one")
    assert caught.value.image == f"{registry.host}/{repository_name}:latest"
    with pytest.raises(NotFoundError, match="NAME_UNKNOWN"):
        list(there.tags())


def test_tags_and_repositories_come_in_pages(
    client: RegistryClient, registry: DockerRegistry, repository_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wclayer.oci.registry.repository._TAGS_AT_ONCE", 2)
    monkeypatch.setattr("wclayer.oci.registry.client._REPOSITORIES_AT_ONCE", 1)
    there = repository(client, registry, repository_name)
    digest = put_image(there, [b"layer"], "1")
    raw = there.get_manifest(digest).raw
    for tag in ("2", "3", "4", "5"):
        there.put_manifest(raw, OCI_MANIFEST, tag)
    seed(registry.name(f"{repository_name}/other:1"))
    assert sorted(there.tags()) == ["1", "2", "3", "4", "5"]
    assert {repository_name, f"{repository_name}/other"} <= set(client.catalog(registry.host))


def test_deleting_a_manifest_takes_its_tags(
    client: RegistryClient, registry: DockerRegistry, repository_name: str
) -> None:
    there = repository(client, registry, repository_name)
    digest = put_image(there, [b"layer"], "one")
    there.delete_manifest(digest)
    assert there.head_manifest("one") is None
    there.delete_blob(digest_of(b"layer"))
    assert there.has_blob(digest_of(b"layer")) is None


def test_a_tag_alone_cannot_be_deleted_here(
    client: RegistryClient, registry: DockerRegistry, repository_name: str
) -> None:
    there = repository(client, registry, repository_name)
    put_image(there, [b"layer"], "one")
    with pytest.raises(UnsupportedError, match="does not delete tags alone"):
        there.delete_tag("one")
    assert there.head_manifest("one") is not None


def test_deletion_may_be_switched_off(
    client: RegistryClient, registry: DockerRegistry, undeletable_registry: DockerRegistry, repository_name: str
) -> None:
    digest = seed(registry.name(f"{repository_name}:one"))
    there = repository(client, undeletable_registry, repository_name)
    with pytest.raises(UnsupportedError, match="does not allow deletion"):
        there.delete_manifest(digest)
    with pytest.raises(UnsupportedError):
        there.delete_blob(digest_of(b""))
    assert there.head_manifest(digest) is not None


def test_a_read_only_registry_can_be_read(
    client: RegistryClient, registry: DockerRegistry, read_only_registry: DockerRegistry, repository_name: str
) -> None:
    digest = seed(registry.name(f"{repository_name}:one"))
    there = repository(client, read_only_registry, repository_name)
    document = there.get_manifest("one")
    assert document.digest == digest
    with pytest.raises(UnsupportedError):
        there.put_manifest(document.raw, OCI_MANIFEST, "two")


# ------------------------------------------------------------------------------------------------------- referrers


def _attach(there: Repository, subject: Descriptor, kind: str) -> Descriptor:
    empty = put_blob(there, b"{}", "application/vnd.oci.empty.v1+json")
    raw = encode_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": empty.to_json(),
            "layers": [empty.to_json()],
            "subject": subject.to_json(),
            "annotations": {"of": kind},
        }
    )
    digest = there.put_manifest(raw, OCI_MANIFEST, digest_of(raw))
    return Descriptor(OCI_MANIFEST, digest, len(raw), annotations={"of": kind}, artifact_type=kind)


def test_referrers_are_listed_under_a_tag_where_the_registry_cannot(
    client: RegistryClient, registry: DockerRegistry, repository_name: str
) -> None:
    there = repository(client, registry, repository_name)
    digest = put_image(there, [b"layer"], "one")
    subject = there.get_manifest(digest).descriptor
    assert there.referrers(digest).manifests == ()
    sbom, signature = (_attach(there, subject, f"application/{kind}") for kind in ("sbom", "signature"))
    assert there.referrers(digest).manifests == (sbom, signature)
    assert there.referrers(digest, "application/sbom").manifests == (sbom,)
    assert _attach(there, subject, "application/sbom") == sbom  # a second time changes nothing
    assert there.referrers(digest).manifests == (sbom, signature)
    assert f"sha256-{digest.hex}" in list(there.tags())
    there.delete_manifest(sbom.digest)
    assert there.referrers(digest).manifests == (signature,)
    there.delete_manifest(signature.digest)
    assert there.referrers(digest).manifests == ()
    assert f"sha256-{digest.hex}" not in list(there.tags())


def test_an_index_is_stored_as_it_is(client: RegistryClient, registry: DockerRegistry, repository_name: str) -> None:
    there = repository(client, registry, repository_name)
    digest = put_image(there, [b"layer"], "one")
    entry = there.get_manifest(digest).descriptor
    raw = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.to_json()]}) + b"\n"
    stored = there.put_manifest(raw, OCI_INDEX, "many")
    assert there.get_manifest("many").raw == raw
    assert stored == digest_of(raw)


# --------------------------------------------------------------------------------------------------- who is asking


def test_basic_authentication(basic_registry: DockerRegistry, repository_name: str) -> None:
    with RegistryClient(WITH_PASSWORD) as client:
        digest = put_image(repository(client, basic_registry, repository_name), [b"layer"], "one")
        assert list(client.catalog(basic_registry.host))
    with RegistryClient(SETTINGS) as client, pytest.raises(AuthenticationError) as caught:
        repository(client, basic_registry, repository_name).get_manifest(digest)
    assert f"wclayer login {basic_registry.host}" in str(caught.value)
    wrong = replace(SETTINGS, username=USER, password=Secret("a wrong one"))
    with RegistryClient(wrong) as client, pytest.raises(AuthenticationError, match="does not accept the password"):
        repository(client, basic_registry, repository_name).get_manifest(digest)


def test_the_second_request_says_at_once_who_asks(basic_registry: DockerRegistry, repository_name: str) -> None:
    lines: list[str] = []
    with RegistryClient(replace(WITH_PASSWORD, trace=lines.append)) as client:
        there = repository(client, basic_registry, repository_name)
        for _ in range(3):
            assert there.head_manifest("none") is None
    assert [line.split()[1] for line in lines if line.startswith("< ") and "/v2/" in line] == [
        "401",
        "404",
        "404",
        "404",
    ]
    assert not [line for line in lines if PASSWORD in line]


@pytest.mark.parametrize("takes_post", [True, False])
def test_token_authentication(
    token_registry: DockerRegistry, token_server: TokenServer, repository_name: str, takes_post: bool
) -> None:
    token_server.takes_post = takes_post
    with RegistryClient(WITH_PASSWORD) as client:
        there = repository(client, token_registry, repository_name)
        digest = put_image(there, [b"layer"], "one")
        assert there.get_manifest(digest).digest == digest
        assert list(client.catalog(token_registry.host))
    served = [asked for asked in token_server.asked if (asked.method == "POST") == takes_post]
    scopes = [asked.scopes for asked in served]
    name = f"repository:{repository_name}"
    assert scopes == [[f"{name}:pull,push"], [f"{name}:pull"], ["registry:catalog:*"]]
    assert {asked.user for asked in served} == {USER}


def test_anybody_may_pull_what_is_public(
    client: RegistryClient, token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    seed(token_registry.name(f"public/{repository_name}:one"), user=USER, password=PASSWORD)
    seed(token_registry.name(f"private/{repository_name}:one"), user=USER, password=PASSWORD)
    token_server.asked.clear()
    assert repository(client, token_registry, f"public/{repository_name}").get_manifest("one").raw
    assert [(asked.method, asked.user) for asked in token_server.asked] == [("GET", "")]
    with pytest.raises(AuthenticationError, match="wants to know who asks") as caught:
        repository(client, token_registry, f"private/{repository_name}").get_manifest("one")
    assert "wclayer login" in str(caught.value)


def test_an_identity_token_is_exchanged(
    token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    with RegistryClient(replace(SETTINGS, identity_token=Secret(IDENTITY_TOKEN))) as client:
        put_image(repository(client, token_registry, repository_name), [b"layer"], "one")
    assert {asked.parameters["grant_type"][0] for asked in token_server.asked} == {"refresh_token"}
    with (
        RegistryClient(replace(SETTINGS, identity_token=Secret("an old one"))) as client,
        pytest.raises(AuthenticationError, match="does not accept the identity token") as caught,
    ):
        repository(client, token_registry, repository_name).get_manifest("one")
    assert "an old one" not in str(caught.value)


def test_a_registry_token_is_sent_as_it_is(
    token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    seed(token_registry.name(f"{repository_name}:one"), user=USER, password=PASSWORD)
    token_server.asked.clear()
    token = Secret(token_server.token(USER, [f"repository:{repository_name}:pull"]))
    with RegistryClient(replace(SETTINGS, registry_token=token)) as client:
        assert repository(client, token_registry, repository_name).get_manifest("one").raw
    with (
        RegistryClient(replace(SETTINGS, registry_token=Secret("a.wrong.one"))) as client,
        pytest.raises(AuthenticationError, match="does not accept the registry token"),
    ):
        repository(client, token_registry, repository_name).get_manifest("one")
    assert token_server.asked == []


def test_who_may_only_read_is_told_so(
    token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    seed(token_registry.name(f"{repository_name}:one"), user=USER, password=PASSWORD)
    token_server.readers.add(USER)
    with RegistryClient(WITH_PASSWORD) as client:
        there = repository(client, token_registry, repository_name)
        raw = there.get_manifest("one").raw
        with pytest.raises(AuthenticationError, match="denies storing the manifest two of") as caught:
            there.put_manifest(raw, OCI_MANIFEST, "two")
    assert "the account lacks the right" in str(caught.value)


def test_a_token_that_has_ended_is_renewed(
    token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    token_server.lifetime = 1
    with RegistryClient(WITH_PASSWORD) as client:
        there = repository(client, token_registry, repository_name)
        put_image(there, [b"layer"], "one")
        there.get_manifest("one")
        before = len(token_server.asked)
        client._patience.wait(1.1)
        there.get_manifest("one")
    assert len(token_server.asked) == before + 1


def test_a_wrong_password_is_refused_by_the_token_server(token_registry: DockerRegistry, repository_name: str) -> None:
    wrong = replace(SETTINGS, username=USER, password=Secret("a wrong one"))
    with (
        RegistryClient(wrong) as client,
        pytest.raises(
            AuthenticationError, match="does not accept the password of 'anna' from the command line"
        ) as caught,
    ):
        repository(client, token_registry, repository_name).get_manifest("one")
    assert "a wrong one" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- TLS


def test_an_own_authority_is_trusted(authority: Authority, tls_registry: DockerRegistry, repository_name: str) -> None:
    with RegistryClient(replace(SETTINGS, ca_file=authority.file)) as client:
        digest = put_image(repository(client, tls_registry, repository_name), [b"layer"], "one")
        port = tls_registry.host.rpartition(":")[2]
        by_name = client.repository(parse_registry_name(f"localhost:{port}/{repository_name}:one"))
        assert by_name.get_manifest("one").digest == digest


def test_an_unknown_authority_is_not(client: RegistryClient, tls_registry: DockerRegistry) -> None:
    with pytest.raises(NetworkError, match="certificate is not trusted") as caught:
        repository(client, tls_registry, "tests/any").get_manifest("one")
    assert "--ca-file" in str(caught.value)


def test_certificates_need_not_be_looked_at(tls_registry: DockerRegistry, repository_name: str) -> None:
    with RegistryClient(replace(SETTINGS, insecure=True)) as client:
        assert repository(client, tls_registry, repository_name).head_manifest("one") is None


def test_http_where_tls_is_spoken(tls_registry: DockerRegistry) -> None:
    with (
        RegistryClient(replace(SETTINGS, plain_http=True)) as client,
        pytest.raises(NetworkError, match="HTTP request to an HTTPS server"),
    ):
        repository(client, tls_registry, "tests/any").get_manifest("one")


def test_tls_where_http_is_spoken(registry: DockerRegistry) -> None:
    with (
        RegistryClient(replace(SETTINGS, plain_http=False)) as client,
        pytest.raises(NetworkError, match="does not speak TLS") as caught,
    ):
        repository(client, registry, "tests/any").get_manifest("one")
    assert "--plain-http" in str(caught.value)


def test_a_client_certificate_is_shown(
    authority: Authority,
    mutual_tls_registry: DockerRegistry,
    repository_name: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cert, key = authority.client_files(tmp_path_factory.mktemp("client"))
    settings = replace(SETTINGS, ca_file=authority.file)
    with RegistryClient(replace(settings, cert=cert, key=key)) as client:
        assert repository(client, mutual_tls_registry, repository_name).head_manifest("one") is None
    both = tmp_path_factory.mktemp("both") / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    with RegistryClient(replace(settings, cert=both)) as client:
        assert repository(client, mutual_tls_registry, repository_name).head_manifest("one") is None
    with RegistryClient(settings) as client, pytest.raises(NetworkError, match=r"TLS failed|closed|reset|broken"):
        repository(client, mutual_tls_registry, repository_name).head_manifest("one")


def test_defaults_are_right_for_this_machine(registry: DockerRegistry, repository_name: str) -> None:
    port = registry.host.rpartition(":")[2]
    with RegistryClient(RegistrySettings()) as client:
        for host in (registry.host, f"localhost:{port}"):
            assert client.repository(parse_registry_name(f"{host}/{repository_name}")).head_manifest("one") is None
