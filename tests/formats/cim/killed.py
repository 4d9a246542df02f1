"""Writes an image again and again, dying at a later moment each time, and looks at what is left.

``python killed.py DIRECTORY CASE STEP`` prints one line of JSON: how many moments there were, and what was wrong. Each
time a child process runs the case and kills itself before the n-th thing that changes the file system.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import wclayer.formats.cim.region_writer
import wclayer.formats.cim.staged
from wclayer.formats.cim.files import destroy_cim
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.cim.writer import CimWriter
from wclayer.model import Metadata

OLD = uuid.UUID(int=1)
NEW = uuid.UUID(int=2)


class Countdown:
    """Kills the process at the ``moment``-th call."""

    def __init__(self, moment: int) -> None:
        self.left = moment

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: int) -> None:
    tick = Countdown(moment)

    class Watched(FileIO):
        def write(self, data: Any, /) -> int:
            tick()
            half = len(data) // 2
            if half and not tick.left:  # in the middle of it
                super().write(memoryview(data)[:half])
                tick()
            return super().write(data)

        def truncate(self, size: int | None = None, /) -> int:
            tick()
            return super().truncate(size)

        def close(self) -> None:
            if not self.closed:
                tick()
            super().close()

    for module in (wclayer.formats.cim.region_writer, wclayer.formats.cim.staged):
        vars(module)["FileIO"] = Watched
    for name in ("rename", "replace", "unlink", "fsync", "open"):
        before: Callable[..., object] = getattr(os, name)

        def watched(*arguments: object, _before: Callable[..., object] = before, **named: object) -> object:
            tick()
            return _before(*arguments, **named)

        setattr(os, name, watched)


def fill(directory: Path, *, guid: uuid.UUID, **options: object) -> None:
    with CimWriter(directory, "a.cim", guid=guid, **options) as writer:  # type: ignore[arg-type]
        writer.add_directory("d", Metadata())
        for number in range(3):
            writer.add_file(f"d/{number}", Metadata(), 700_000).write(bytes([number + guid.int]) * 700_000)
        large = bytes([guid.int]) * (3 << 19)
        for name in ("large", "again"):
            writer.add_file(name, Metadata(), len(large)).write(large)


def new(directory: Path) -> None:
    fill(directory, guid=NEW)


def replace(directory: Path) -> None:
    fill(directory, guid=NEW, replace=True)


def fork(directory: Path) -> None:
    with CimWriter(directory, "f.cim", parent="a.cim", guid=NEW) as writer:
        writer.add_file("f", Metadata(), 5).write(b"hello")


def destroy(directory: Path) -> None:
    destroy_cim(directory / "a.cim")


CASES = {"new": (new, False), "replace": (replace, True), "fork": (fork, True), "destroy": (destroy, True)}


def whole(path: Path) -> uuid.UUID | None:
    """The GUID of the image ``path`` if there is one; it must be sound and have what it should."""
    if not path.exists():
        return None
    with CimImage.open(path) as image:
        assert not [one for one in verify_cim(image) if one.severity != "note"]
        files = [file.path for file in image.walk()]
        for name in ("d/2", "large"):
            found = image.lookup(name)
            assert found is not None
            data = b"".join(found.pieces())
            origin = image.header.parents[0].guid if image.header.parents else image.guid
            assert set(data) == {origin.int + (2 if name == "d/2" else 0)}, name
        assert files == ["", "again", "d", "d/0", "d/1", "d/2", *(["f"] if path.name == "f.cim" else []), "large"]
        return image.guid


def left(directory: Path, case: str) -> str | None:
    """What is wrong in ``directory`` after the process died, if anything."""
    found = {name: whole(directory / name) for name in ("a.cim", "f.cim")}
    if case in ("replace", "fork") and found["a.cim"] is None:
        return "the old image is gone"
    if case == "fork" and found["a.cim"] != OLD:
        return "the parent was touched"
    with CimWriter(directory, "next.cim"):
        pass
    destroy_cim(directory / "next.cim")
    if {name: whole(directory / name) for name in found} != found:
        return "the next run changed an image"
    expected = {name for name, guid in found.items() if guid is not None}
    files = {path.name for path in directory.iterdir()}
    guids = {str(guid) for guid in found.values() if guid is not None}
    strays = {name for name in files - expected if name.split("_")[1:2] == [] or name.split("_")[1] not in guids}
    if strays:
        return f"left over: {sorted(strays)}"
    return None


def main(place: str, case: str, step: str) -> None:
    directory = Path(place)
    run, needs_old = CASES[case]
    moments = killed = 0
    wrong: list[str] = []
    while True:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        if needs_old:
            fill(directory, guid=OLD)
        child = os.fork()
        if not child:
            arm(moments)
            run(directory)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status):
            wrong.append(f"moment {moments}: exit status {os.WEXITSTATUS(status)}")
        try:
            reason = left(directory, case)
        except Exception as error:
            reason = repr(error)
        if reason:
            wrong.append(f"moment {moments}: {reason}")
        if not os.WIFSIGNALED(status):
            break
        moments += int(step)
    print(json.dumps({"killed": killed, "wrong": wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
