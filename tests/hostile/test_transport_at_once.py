"""Several processes that convert to one place, or side by side, and processes that are told to stop."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.hostile.command import INTEGRITY, STORE, arguments_of
from tests.hostile.forms import JOBS, Job, arguments_in_a_process, convert, hidden, layer_tar, visible, whole
from tests.hostile.tars import archive, file, folder, whiteout
from tests.hostile.test_at_once import STOPS, stopped


def at_once(orders: Sequence[tuple[str, ...]]) -> list[tuple[int, str]]:
    """All orders at the same time: exit codes, and what they said."""
    running = [
        subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for arguments in (
            arguments_of(*order) if order[0] == "convert" else arguments_in_a_process(order) for order in orders
        )
    ]
    ended = []
    for process in running:
        _, errors = process.communicate(timeout=240)
        ended.append((process.returncode, errors))
    return ended


def state_of(job: Job) -> dict[str, str]:
    """What there is under the names that a run gives."""
    return {path.name: whole(path) for path in (job.out, *job.companions) if path.exists()}


def other_layer(root: Path) -> Path:
    """A layer that shares names with the first one, and says other things of them."""
    path = root / "other.tar"
    members = [file(f"Files/b/{number:05}", b"other", MSWINDOWS_fileattr="33") for number in range(120)]
    path.write_bytes(archive(folder("Files"), folder("Files/b"), *members))
    return path


@pytest.mark.parametrize(("form", "count"), [("transport:", 2), ("transport:", 4), ("base:", 4), ("plain:", 2)])
def test_converting_different_layers_to_one_place(form: str, count: int, tmp_path: Path) -> None:
    """One wins. Of a transport folder both names are the winner's, or the times of one would stand in the other."""
    (tmp_path / "work").mkdir()
    (tmp_path / "layer.tar").write_bytes(layer_tar(diff=False))
    sources = [tmp_path / "layer.tar", other_layer(tmp_path)]
    jobs = [convert(tmp_path, source, form) for source in sources]
    wanted = []
    for job in jobs:
        job.run()
        wanted.append(state_of(job))
        shutil.rmtree(job.out)
        for companion in job.companions:
            companion.unlink()
    ended = at_once([jobs[number % 2].order for number in range(count)])
    codes = sorted(code for code, _ in ended)
    assert codes == [0] + [STORE] * (count - 1), ended
    for code, said in ended:
        assert (code == 0) is not ("exists and is not an empty folder" in said), ended
    winner = next(number for number, (code, _) in enumerate(ended) if code == 0) % 2
    assert state_of(jobs[winner]) == wanted[winner]
    assert {path.name for path in jobs[0].work.iterdir()} == set(wanted[winner])


@pytest.mark.parametrize("form", ["transport:", "plain:"])
def test_converting_side_by_side(form: str, tmp_path: Path) -> None:
    """Each sweeps the folder that the others work in, and none removes what lives."""
    (tmp_path / "work").mkdir()
    (tmp_path / "layer.tar").write_bytes(layer_tar(diff=False))
    jobs = [convert(tmp_path, tmp_path / "layer.tar", form, f"out-{number}") for number in range(4)]
    assert [code for code, _ in at_once([job.order for job in jobs])] == [0] * 4
    assert hidden(tmp_path / "work") == []
    assert len({whole(job.out) for job in jobs}) == 1


def test_importing_and_exporting_at_once(tmp_path: Path) -> None:
    """``import_layer_from_tar`` to one place and to others, ``export_layer_to_tar`` of one layer to one file."""
    (tmp_path / "work").mkdir()
    job = JOBS["api-import"](tmp_path)
    verb, tar, _, parent = job.order
    others = [job.work / f"other-{number}" for number in range(2)]
    ended = at_once([job.order, job.order, *((verb, tar, str(other), parent) for other in others)])
    assert sorted(code for code, _ in ended[:2]) == [0, 1], ended
    assert [code for code, _ in ended[2:]] == [0, 0], ended
    assert len({whole(path) for path in (job.out, *others)}) == 1
    assert hidden(job.work) == []
    output = tmp_path / "work" / "out.tar"
    ended = at_once([("export", str(job.out), str(output))] * 4)
    assert [code for code, _ in ended] == [0] * 4, ended
    assert hidden(job.work) == []
    alone = tmp_path / "work" / "alone.tar"
    Job(("export", str(others[0]), str(alone)), alone).run()
    assert output.read_bytes() == alone.read_bytes()


def test_a_hostile_layer_beside_a_good_one(tmp_path: Path) -> None:
    """One fails and cleans up in the folder that the other works in."""
    (tmp_path / "work").mkdir()
    (tmp_path / "layer.tar").write_bytes(layer_tar(diff=False))
    (tmp_path / "bad.tar").write_bytes(archive(folder("Files"), file("Files/x"), file("../evil")))
    good, bad = (convert(tmp_path, tmp_path / name, "transport:") for name in ("layer.tar", "bad.tar"))
    ended = at_once([bad.order, good.order, bad.order])
    assert ended[1][0] == 0, ended
    assert {ended[0][0], ended[2][0]} <= {INTEGRITY, STORE}, ended
    assert {path.name for path in good.work.iterdir()} == {"out", "out.ntfs"}


def test_a_file_that_is_no_manifest_stays(tmp_path: Path) -> None:
    """A transport folder's manifest takes a name beside it that may be somebody else's."""
    (tmp_path / "work").mkdir()
    (tmp_path / "layer.tar").write_bytes(archive(folder("Files"), whiteout("Files", "x")))
    job = convert(tmp_path, tmp_path / "layer.tar", "transport:")
    (place,) = job.companions
    place.write_bytes(b"an image of a disk")
    (code, said), *_ = at_once([job.order])
    assert code == STORE, said
    assert str(place) in said
    assert place.read_bytes() == b"an image of a disk"
    assert visible(job.work) == {place.name}
    place.unlink()
    place.symlink_to(tmp_path / "layer.tar")
    assert at_once([job.order])[0][0] == STORE
    assert place.is_symlink()
    place.unlink()
    job.run()
    # One that a killed run left alone is replaced.
    shutil.rmtree(job.out)
    job.run()
    assert visible(job.work) == {"out", "out.ntfs"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), STOPS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", ["tar-transport", "transport-layer", "transport-tar", "tar-base"])
def test_being_told_to_stop(name: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    job = JOBS[name](tmp_path)
    job.run()
    complete = state_of(job)
    dice = random.Random(name)
    seen = set()
    deadline = time.monotonic() + 60
    while code not in seen and time.monotonic() < deadline:
        for path in (job.out, *job.companions):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        arguments = arguments_of(*job.order)
        ended, errors = stopped(arguments, number, lambda: any(job.work.iterdir()), dice.random() * 0.1)
        if ended in (0, -number) and state_of(job) == complete and hidden(job.work) == []:
            continue  # it was done; a signal as late as that finds an interpreter that is going already
        assert ended == code, errors
        assert hidden(job.work) == []
        assert "Traceback" not in errors
        if state_of(job) == complete:
            continue  # it came when all was done, and what there is to tell of it was told
        seen.add(ended)
        assert len(errors.splitlines()) == 1, errors
        assert state_of(job) == {}
    assert code in seen
