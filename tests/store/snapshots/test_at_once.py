"""Several programs at the same snapshots."""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.store.roots import open_root
from wclayer.store.snapshots import AlreadyExistsError, FailedPreconditionError, Kind, Snapshotter


def test_many_at_once_leave_snapshots_that_are_whole(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    broken: list[BaseException] = []

    def work(number: int) -> None:
        chance = random.Random(seed + number)
        try:
            with Snapshotter(tmp_path, patience=30) as snapshots:
                for step in range(12):
                    one(snapshots, chance, f"{number}-{step}")
        except BaseException as error:
            broken.append(error)

    def one(snapshots: Snapshotter, chance: random.Random, key: str) -> None:
        bases = [info.name for info in snapshots.walk("kind==committed")]
        parent = chance.choice([*bases, ""])
        try:
            snapshots.prepare(key, parent)
            (snapshots.tree(key) / "Files" / f"f{chance.randrange(4)}").write_text(key)
            snapshots.commit(f"layer-{chance.randrange(8)}", key)
            if bases and chance.random() < 0.5:
                snapshots.remove(chance.choice(bases))
        except (AlreadyExistsError, FailedPreconditionError):
            pass  # another one took the name, or stands on it
        except WclayerError as error:
            if "there is no snapshot" not in str(error):
                raise  # another one removed it

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    assert list(open_root(tmp_path).check(contents=True)) == []
    with Snapshotter(tmp_path) as snapshots:
        infos = {info.name: info for info in snapshots.walk()}
        assert infos
        assert all(not info.parent or infos[info.parent].kind is Kind.COMMITTED for info in infos.values())
        for name in [info.name for info in infos.values() if info.kind is Kind.COMMITTED]:
            snapshots.view(f"look-{name}", name)
            assert snapshots.tree(f"look-{name}").is_dir()
