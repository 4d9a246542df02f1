from __future__ import annotations

import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from wclayer.oci import CompressedWriter
from wclayer.oci.content.fronthash import FrontHash
from wclayer.oci.content.writeback import Writeback
from wclayer.oci.outflow import SLAB_SIZE
from wclayer.threads import Helper


@pytest.fixture(params=["before", "after"])
def interrupted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Ends every start by an interruption; what is returned lets the threads begin for which that came too late."""
    begin: list[Callable[[], None]] = []

    def start(self: threading.Thread) -> None:
        if request.param == "after":
            begin.append(self.run)
        raise KeyboardInterrupt

    monkeypatch.setattr(Helper, "start", start)

    def late() -> None:
        for run in begin:
            run()

    return late


def test_a_helper_is_waited_for() -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def task() -> None:
        may_end.wait()
        has_ended.set()

    helper = Helper(task, "wclayer-test")
    helper.start()
    helper.join(0.01)
    assert helper.is_alive()
    may_end.set()
    helper.join()
    assert has_ended.is_set()
    helper.join()


def test_a_helper_that_never_began_is_not_waited_for() -> None:
    Helper(lambda: None, "wclayer-test").join()


def test_a_writer_interrupted_at_its_first_slab_closes_and_takes_nothing_more(interrupted: Callable[[], None]) -> None:
    sink = BytesIO()
    writer = CompressedWriter(sink)
    with pytest.raises(KeyboardInterrupt), writer:
        writer.write(bytes(SLAB_SIZE))
    interrupted()
    assert sink.getvalue() == b""


def test_writing_back_interrupted_at_its_start_closes(interrupted: Callable[[], None], tmp_path: Path) -> None:
    with (tmp_path / "blob").open("wb", 0) as file:
        back = Writeback(file.fileno(), "the blob")
        with pytest.raises(KeyboardInterrupt):
            back.written(1 << 40)
        back.close()
        interrupted()


def test_hashing_interrupted_at_its_start_closes(interrupted: Callable[[], None], tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"content")
    front = FrontHash(tmp_path / "blob", "sha256")
    with pytest.raises(KeyboardInterrupt):
        front.grow(1 << 40)
    front.close()
    interrupted()
