"""Whatever comes over the line, it ends in an answer that is right or in an error of this package, without a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oci.registry.test_answers import DIGEST, MANIFEST
from tests.registries.content import SETTINGS
from tests.registries.scripted import Reply, serve
from wclayer.errors import WclayerError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.mediatypes import OCI_INDEX
from wclayer.oci.registry import RegistryClient, Secret, parse_registry_name

NAMES = (
    "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Docker-Content-Digest", "Link", "Location",
    "OCI-Subject", "Retry-After", "Transfer-Encoding", "WWW-Authenticate", " folded", "",
)  # fmt: skip
VALUES = (
    "", "0", "5", "-1", "+5", "5_0", "0x10", "9" * 30, "chunked", "close", "gzip", "a" * 5000, "\xff\xfe\x00",
    str(DIGEST), f"sha256:{'0' * 64}", OCI_INDEX, "//", "?", "http://[::1", "http://127.0.0.1:1/x", "data:x",
    "http://127.0.0.1:99999/", "http://a b/", "Basic", "Bearer", 'Bearer realm="http://127.0.0.1:1/t"',
    "</x>; rel=next", "Sun, 06 Nov 9999999 08:49:37 GMT",
)  # fmt: skip
STATUSES = ("200", "201", "204", "206", "301", "304", "307", "401", "403", "404", "429", "500", "101", "999", "-5", "x")
BODIES = (
    MANIFEST, b"", b"{}", b'{"tags":["a"]}', b"5\r\nabcde\r\n0\r\n\r\n", b"zz\r\n", b"\x1f\x8b", b'{"token":"x"}',
)  # fmt: skip


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """An answer, right in parts."""
    lines = [f"HTTP/1.{draw(st.sampled_from('011'))} {draw(st.sampled_from(STATUSES))} OK"]
    lines += draw(st.lists(st.builds("{}: {}".format, st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=5))
    ending = draw(st.sampled_from(["\r\n", "\r\n", "\n"]))
    whole = (ending.join(lines) + ending * 2).encode("latin-1") + draw(st.sampled_from(BODIES))
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.integers(0, 4)) == 0 else whole


@settings(max_examples=30)
@given(st.lists(replies(), min_size=1, max_size=3))
def test_any_answer_ends_well(raw: list[bytes]) -> None:
    count = iter(range(10_000))
    quick = replace(
        SETTINGS, retries=1, retry_delay=0, read_timeout=5, username="anna", password=Secret("s3cret"), plain_http=True
    )
    with (
        serve(lambda _: Reply(raw=raw[next(count) % len(raw)])) as server,
        RegistryClient(quick) as client,
    ):
        there = client.repository(parse_registry_name(f"{server.host}/a:one"))
        checks: list[Callable[[], bool]] = [
            lambda: there.get_manifest(DIGEST).raw == MANIFEST,
            lambda: there.get_manifest("one").raw == MANIFEST,
            lambda: isinstance(there.head_manifest("one"), Descriptor | None),
            lambda: set(there.tags()) <= {"a"},
            lambda: there.referrers(DIGEST).manifests == (),
            lambda: (there.has_blob(DIGEST) or 0) >= -1,
        ]
        for check in checks:
            text = ""
            try:
                assert check()
            except WclayerError as error:
                text = str(error)
            assert text.isprintable()
            assert "s3cret" not in text
            assert server.host in text or not text
