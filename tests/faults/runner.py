"""One case of the table: a client, a proxy that misbehaves, a registry behind it, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.faults.origin import Bytes
from tests.faults.proxy import Proxy, Script
from tests.faults.wires import Wire, plain
from wclayer.errors import WclayerError
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry.blobs import download
from wclayer.oci.registry.client import RegistryClient
from wclayer.oci.registry.names import parse_registry_name
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.oci.registry.upload import upload
from wclayer.oci.sources import open_file

__all__ = ["PIECE", "Case", "Mode", "Outcome", "check", "connected", "descriptor_of", "run"]

Mode = Literal["one part", "four parts", "upload", "chunks"]
PIECE = 1 << 19
"""Pieces of a download in several parts, and chunks of an upload, in bytes."""
_LAYER = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Case:
    """What goes wrong, and what must come of it: exit code 0 is the right blob.

    ``most`` is how many times the size of the blob may pass the proxy, ``least`` how many requests for data there must
    have been at the least, so that it is known that the fault was met. ``wire`` replaces the whole proxy.
    """

    name: str
    script: Callable[[], Script]
    exit_code: int = 0
    says: str = ""
    most: float = 1.1
    least: int = 1
    modes: tuple[Mode, ...] = ("one part", "four parts")
    settings: dict[str, object] = field(default_factory=dict)
    wire: Wire = plain


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``bytes`` passed the proxy towards the client, or were read to be sent."""

    case: Case
    mode: Mode
    exit_code: int
    message: str
    requests: int
    bytes: float
    seconds: float

    @property
    def row(self) -> str:
        """A line of the table."""
        what = "the right blob" if self.exit_code == 0 else f"exit code {self.exit_code}"
        figures = f"{self.requests:4} {self.bytes:6.2f} {self.seconds:6.2f}"
        return f"{self.case.name:46} {self.mode:10} {what:15} {figures}  {self.message[:110]}"


def descriptor_of(content: Bytes) -> Descriptor:
    """The descriptor of a blob."""
    return Descriptor(_LAYER, content.digest, content.size)


@contextmanager
def connected(host: str, repository: str, **settings: object) -> Iterator[Repository]:
    """A repository of the registry at ``host``; quick to try again."""
    quick = {"anonymous": True, "retry_delay": 0.01, "read_timeout": 30.0, "plain_http": True, "proxy": ""} | settings
    with RegistryClient(RegistrySettings(**quick)) as client:  # type: ignore[arg-type]
        yield client.repository(parse_registry_name(f"{host}/{repository}:latest"))


def check(outcome: Outcome) -> list[str]:
    """What is not as it must be, as sentences."""
    case, wrong = outcome.case, []
    if outcome.exit_code != case.exit_code:
        wrong.append(f"exit code {outcome.exit_code} instead of {case.exit_code}: {outcome.message}")
    if case.says not in outcome.message:
        wrong.append(f"does not say {case.says!r}: {outcome.message}")
    if outcome.requests < case.least:
        wrong.append(f"{outcome.requests} requests, so the fault was not met")
    if case.exit_code == 0 and outcome.bytes > case.most:
        wrong.append(f"{outcome.bytes:.2f} times the blob instead of {case.most:.2f}")
    return wrong


def run(case: Case, mode: Mode, upstream: str, repository_name: str, content: Bytes, folder: Path) -> Outcome:
    """Run ``case`` between a client and the registry ``upstream``, which has ``content`` when it is to be fetched.

    Raises AssertionError when a wrong blob was taken for the right one, here or in the registry.
    """
    began = time.monotonic()
    message, code = "", 0
    sent: list[int] = []
    proxy = Proxy(upstream, case.script())
    with case.wire(proxy) as server, connected(server.host, repository_name, **case.settings) as repository:
        try:
            if mode in ("upload", "chunks"):
                _upload(repository, content, folder, mode, sent)
            else:
                with PartialBlob(folder / "blob", content.digest, content.size) as partial:
                    parts = 4 if mode == "four parts" else 1
                    download(repository, descriptor_of(content), partial, parts=parts, piece=PIECE, settle=0)
        except WclayerError as error:
            code, message = error.exit_code, str(error)
        seconds = time.monotonic() - began
        requests = sum("/blobs/" in request.path for request in server.requests)
        moved = server.bytes_sent
    if mode in ("upload", "chunks"):
        moved = sum(count for count in sent if count > 0)
        assert code or sum(sent) == content.size, "the progress does not add up"
        _require_right_or_none(upstream, repository_name, content, there=code == 0)
    else:
        whole = (folder / "blob").read_bytes() if code == 0 else content.data
        assert whole == content.data, "a wrong blob was taken for the right one"
        assert (code != 0) == (folder / "blob.journal").exists(), "what is not finished has a journal, and nothing else"
    return Outcome(case, mode, code, message, requests, moved / content.size, seconds)


def _upload(repository: Repository, content: Bytes, folder: Path, mode: Mode, sent: list[int]) -> None:
    source = folder / "source"
    source.write_bytes(content.data)
    chunk = PIECE if mode == "chunks" else None
    upload(repository, lambda: open_file(source), descriptor_of(content), chunk_size=chunk, advance=sent.append)


def _require_right_or_none(upstream: str, repository_name: str, content: Bytes, *, there: bool) -> None:
    with connected(upstream, repository_name) as direct:
        answer = direct.request("GET", f"blobs/{content.digest}", expect=(200, 404))
        found = None if answer.status == 404 else answer.read(content.size + 1, "the blob")
        answer.close()
    assert found == content.data if found is not None else not there, "the registry has not the right blob"
