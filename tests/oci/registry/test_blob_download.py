"""Blobs out of a registry: in parts or in one, resumed, counted, cancelled, and always verified."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faults import drop, ignore_range, status
from tests.faults.origin import Bytes, Endless, Origin
from tests.faults.proxy import Proxy, Script, always, blob_reads
from tests.faults.runner import connected, descriptor_of
from tests.faults.wire import Exchange, Request, Server
from wclayer.errors import AuthenticationError, DigestMismatchError, NetworkError, NotFoundError, StoreError, UsageError
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.registry.blobs import download, open_blob
from wclayer.oci.registry.repository import Repository
from wclayer.oci.sources import read_all

MEBI = 1 << 20
STORE = "blob/store"


@pytest.fixture(scope="module")
def blob() -> Bytes:
    return Bytes(random.Random(9).randbytes(5 * MEBI + 7))


@pytest.fixture
def origin(blob: Bytes) -> Origin:
    return Origin(blob, Bytes(b""), Bytes(b"x"), repository=STORE)


@pytest.fixture
def server(origin: Origin) -> Iterator[Server]:
    with Server(origin) as running:
        yield running


@pytest.fixture
def repository(server: Server) -> Iterator[Repository]:
    with connected(server.host, STORE) as repository:
        yield repository


def partial_of(blob: Bytes, folder: Path) -> PartialBlob:
    return PartialBlob(folder / "blob", blob.digest, blob.size)


def start_of(request: Request) -> int:
    """Where the part begins that is asked for."""
    return int(request.headers["range"][6:].partition("-")[0])


@pytest.mark.parametrize("parts", [1, 2, 7])
@pytest.mark.parametrize("data", [b"", b"x", None], ids=["empty", "one byte", "large"])
def test_a_blob_comes_in_any_number_of_parts(
    repository: Repository, blob: Bytes, data: bytes | None, parts: int, tmp_path: Path
) -> None:
    wanted = blob if data is None else Bytes(data)
    told: list[int] = []
    with partial_of(wanted, tmp_path) as partial:
        download(repository, descriptor_of(wanted), partial, parts=parts, piece=300_000, settle=0, advance=told.append)
    assert (tmp_path / "blob").read_bytes() == wanted.data
    assert sum(told) == wanted.size
    assert all(count > 0 for count in told)


def test_one_connection_is_enough_for_one_part(
    repository: Repository, blob: Bytes, server: Server, tmp_path: Path
) -> None:
    with partial_of(blob, tmp_path) as partial:
        download(repository, descriptor_of(blob), partial)
    (request,) = server.requests
    assert "range" not in request.headers


def test_parts_are_asked_for_in_order_so_that_the_front_grows(blob: Bytes, origin: Origin, tmp_path: Path) -> None:
    """No part is answered before all that stand before it have arrived: in another order nothing would ever come."""
    fronts = [0]
    grown = threading.Condition()

    def in_order(exchange: Exchange) -> None:
        start = start_of(exchange.request)
        with grown:
            assert grown.wait_for(lambda: fronts[-1] >= start, timeout=60), f"{start} was asked for at {fronts[-1]}"
        origin(exchange)

    def watch(front: int) -> None:
        with grown:
            fronts.append(front)
            grown.notify_all()

    with Server(in_order) as server, connected(server.host, STORE) as repository, partial_of(blob, tmp_path) as partial:
        partial.on_front = watch
        download(repository, descriptor_of(blob), partial, parts=3, piece=500_000, settle=0)
    starts = [start_of(request) for request in server.requests]
    assert sorted(starts) == list(range(0, blob.size, 500_000))
    # Whoever asks for a part takes the next one: all before it were asked for, but by two others perhaps not sent yet.
    assert all(sum(later < start for later in starts[at:]) <= 2 for at, start in enumerate(starts))
    assert fronts == sorted(fronts)
    assert len(fronts) > len(starts)


def test_a_slow_registry_gets_more_connections_and_a_quick_one_does_not(blob: Bytes, tmp_path: Path) -> None:
    origin = Origin(blob, repository=STORE)
    at_once: list[int] = []
    lock = threading.Lock()
    running = 0

    def slowly(exchange: Exchange) -> None:
        nonlocal running
        with lock:
            running += 1
            at_once.append(running)
        exchange.server.sleep(0.05)
        with lock:
            running -= 1
        origin(exchange)

    with Server(slowly) as server, connected(server.host, STORE) as repository, partial_of(blob, tmp_path) as partial:
        download(repository, descriptor_of(blob), partial, parts=3, piece=100_000, settle=0.01)
    assert at_once[0] == 1
    assert max(at_once) == 3


def test_only_what_is_missing_is_fetched(repository: Repository, blob: Bytes, server: Server, tmp_path: Path) -> None:
    with partial_of(blob, tmp_path) as partial:
        partial.write(0, blob.data[:MEBI])
        partial.write(2 * MEBI, blob.data[2 * MEBI : 3 * MEBI])
    told: list[int] = []
    with partial_of(blob, tmp_path) as partial:
        download(repository, descriptor_of(blob), partial, advance=told.append)
    assert [request.headers["range"] for request in server.requests] == ["bytes=1048576-2097151", "bytes=3145728-"]
    assert sum(told) == server.bytes_sent == blob.size - 2 * MEBI
    assert (tmp_path / "blob").read_bytes() == blob.data


def test_what_is_whole_already_is_only_verified(
    repository: Repository, blob: Bytes, server: Server, tmp_path: Path
) -> None:
    with partial_of(blob, tmp_path) as partial:
        partial.write(0, blob.data)
    with partial_of(blob, tmp_path) as partial:
        download(repository, descriptor_of(blob), partial)
    assert server.requests == []


@pytest.mark.parametrize("parts", [1, 4])
def test_a_journal_that_lies_costs_a_second_download_and_no_more(
    repository: Repository, blob: Bytes, server: Server, parts: int, tmp_path: Path
) -> None:
    with partial_of(blob, tmp_path) as partial:
        partial.write(0, bytes(3 * MEBI))
    told: list[int] = []
    with partial_of(blob, tmp_path) as partial:
        known = partial.present
        download(repository, descriptor_of(blob), partial, parts=parts, piece=MEBI, settle=0, advance=told.append)
    assert (tmp_path / "blob").read_bytes() == blob.data
    assert server.bytes_sent == 2 * blob.size - 3 * MEBI
    assert known + sum(told) == blob.size
    assert min(told) == -blob.size


def test_content_that_is_never_right_is_not_kept(server: Server, origin: Origin, blob: Bytes, tmp_path: Path) -> None:
    origin.blobs[STORE, str(blob.digest)] = Bytes(bytes(blob.size))
    with connected(server.host, STORE) as repository, partial_of(blob, tmp_path) as partial:
        with pytest.raises(DigestMismatchError, match="fetched twice") as caught:
            download(repository, descriptor_of(blob), partial)
        assert partial.present == 0
    assert str(repository.name) == caught.value.image


@pytest.mark.parametrize("parts", [1, 4])
def test_whoever_counts_the_bytes_can_cancel_and_nothing_is_lost(
    repository: Repository, blob: Bytes, server: Server, parts: int, tmp_path: Path
) -> None:
    class Cancelled(Exception):
        pass

    told = 0

    def cancel(count: int) -> None:
        nonlocal told
        told += count
        if told > 2 * MEBI:
            raise Cancelled

    with partial_of(blob, tmp_path) as partial, pytest.raises(Cancelled):
        download(repository, descriptor_of(blob), partial, parts=parts, piece=500_000, settle=0, advance=cancel)
    with partial_of(blob, tmp_path) as partial:
        assert partial.present >= 2 * MEBI
        download(repository, descriptor_of(blob), partial)
    assert (tmp_path / "blob").read_bytes() == blob.data


def test_a_full_disk_is_told_at_once(
    repository: Repository, blob: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with partial_of(blob, tmp_path) as partial, pytest.raises(StoreError, match="No space left"):
        download(repository, descriptor_of(blob), partial, parts=3, piece=500_000, settle=0)


def test_the_closed_client_ends_the_waiting(blob: Bytes, server: Server, tmp_path: Path) -> None:
    with (
        Server(Proxy(server.host, Script(blob_reads, always(status(503))))) as proxy,
        connected(proxy.host, STORE, retry_delay=3600.0) as repository,
        partial_of(blob, tmp_path) as partial,
    ):
        timer = threading.Timer(0.3, repository.client.close)
        timer.start()
        with pytest.raises(NetworkError, match="closed"):
            download(repository, descriptor_of(blob), partial)
        timer.join()


def test_progress_is_what_earns_new_attempts(blob: Bytes, server: Server, tmp_path: Path) -> None:
    # Two retries, and twenty drops: each after enough bytes for another two.
    with (
        Server(Proxy(server.host, Script(blob_reads, [drop(0.1)] * 20))) as proxy,
        connected(proxy.host, STORE, retries=2) as repository,
        partial_of(blob, tmp_path) as partial,
    ):
        download(repository, descriptor_of(blob), partial)
    assert len(proxy.requests) == 21
    assert proxy.bytes_sent == blob.size


# ------------------------------------------------------------------------------------------------------------ open_blob


def test_a_range_of_a_blob_is_a_source(repository: Repository, blob: Bytes) -> None:
    descriptor = descriptor_of(blob)
    for offset, length in [(0, None), (0, 0), (0, 1), (5, 10), (MEBI, None), (blob.size - 1, 1), (blob.size, 0)]:
        end = blob.size if length is None else offset + length
        stream = open_blob(repository, descriptor, offset=offset, length=length)
        assert read_all(stream, blob.size, what="the blob") == blob.data[offset:end]


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (6 * MEBI, None), (MEBI, 5 * MEBI)])
def test_a_range_that_there_is_not_is_refused(
    repository: Repository, blob: Bytes, offset: int, length: int | None
) -> None:
    with pytest.raises(UsageError):
        open_blob(repository, descriptor_of(blob), offset=offset, length=length)


def test_a_source_goes_on_after_drops(blob: Bytes, server: Server) -> None:
    with (
        Server(Proxy(server.host, Script(blob_reads, [drop(0.4)] * 3))) as proxy,
        connected(proxy.host, STORE) as repository,
    ):
        stream = open_blob(repository, descriptor_of(blob), offset=100, length=4 * MEBI)
        assert read_all(stream, blob.size, what="the blob") == blob.data[100 : 100 + 4 * MEBI]
    assert len(proxy.requests) == 4


def test_a_source_goes_on_where_there_are_no_ranges(blob: Bytes, server: Server) -> None:
    script = Script(blob_reads, [drop(0.5), *[ignore_range] * 4])
    with Server(Proxy(server.host, script)) as proxy, connected(proxy.host, STORE) as repository:
        whole = read_all(open_blob(repository, descriptor_of(blob)), blob.size, what="the blob")
        part = read_all(open_blob(repository, descriptor_of(blob), offset=77, length=99), blob.size, what="the blob")
    assert whole == blob.data
    assert part == blob.data[77:176]


def test_connections_are_used_again(repository: Repository, blob: Bytes, server: Server) -> None:
    for _ in range(5):
        read_all(open_blob(repository, descriptor_of(blob), length=1000), 1000, what="a part")
    assert server.connections == 1


def test_a_source_of_the_wrong_size_is_refused(repository: Repository, blob: Bytes) -> None:
    shorter, longer = Endless(blob.size - 1), Endless(blob.size + 1)
    for wrong in (shorter, longer):
        descriptor = descriptor_of(blob)
        claimed = type(descriptor)(descriptor.media_type, descriptor.digest, wrong.size)
        with pytest.raises(DigestMismatchError, match="promised"):
            read_all(open_blob(repository, claimed), 2 * blob.size, what="the blob")


def test_a_blob_that_is_not_there(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match="not found or no access"):
        read_all(open_blob(repository, descriptor_of(Bytes(b"another"))), 100, what="the blob")


def test_a_blob_that_nobody_may_have(blob: Bytes, server: Server) -> None:
    script = Script(blob_reads, always(status(403)))
    with (
        Server(Proxy(server.host, script)) as proxy,
        connected(proxy.host, STORE) as repository,
        pytest.raises(AuthenticationError),
    ):
        read_all(open_blob(repository, descriptor_of(blob)), blob.size, what="the blob")
