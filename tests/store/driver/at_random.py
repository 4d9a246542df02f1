"""A program that does random things to a store, and says what it did: one of many that test_at_once kills.

Arguments: root, seed, number of operations. It writes a line for each operation: its name, and whether it was refused.
"""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

from tests.image.stacks import file, folder
from tests.store.tars import tar_bytes
from wclayer.errors import NotFoundError, StoreError
from wclayer.model import Tombstone
from wclayer.store.driver import MergedMounts
from wclayer.store.driver.checking import list_layers
from wclayer.store.driver.layers import LayerStore


class Worker:
    """One run. What another one does at the same time may make any operation fail, but only as told."""

    def __init__(self, root: Path, seed: int, *, tell: bool = False) -> None:
        self.tell = tell
        self.random = random.Random(seed)
        self.store = LayerStore(root, mounts=MergedMounts(), patience=20)
        self.driver = self.store.driver
        self.mounted: list[str] = []

    def step(self) -> None:
        """Do one thing."""
        action = self.random.choices(
            [
                self.add,
                self.remove,
                self.get,
                self.put,
                self.work,
                self.read,
                self.register,
                self.release,
                self.collect,
                self.look,
            ],
            [5, 3, 4, 4, 4, 4, 3, 2, 1, 2],
        )[0]
        refused = ""
        try:
            action()
        except (NotFoundError, StoreError) as error:
            if not self.allowed(str(error)):
                raise
            refused = " refused"
        if self.tell:
            sys.stdout.write(f"{action.__name__}{refused}\n")
            sys.stdout.flush()

    @staticmethod
    def allowed(text: str) -> bool:
        """Whether this is what another program may do to one: use, remove or make the same layer."""
        told = (
            "is mounted", "stands on it", "already", "there is no layer", "is not there", "in use", "has changes",
            "is read-write", "max depth", "is no layer", "there is no image", "another way",
        )  # fmt: skip
        return any(part in text for part in told)

    def pick(self) -> str:
        names = self.driver.home.names()
        return self.random.choice(names) if names else "none"

    def items(self, *, whole: bool) -> list[object]:
        data = self.random.randbytes(self.random.randrange(2000))
        names = [f"Files/d/{self.random.randrange(6)}" for _ in range(3)]
        made = [file(name, data) for name in dict.fromkeys(names)]
        gone = [Tombstone(f"Files/d/x{self.random.randrange(6)}")] if not whole else []
        return [folder("Files"), folder("Files/d"), *made, *gone]

    def add(self) -> None:
        name = f"layer-{self.random.randrange(40)}"
        if self.random.random() < 0.4:
            self.driver.create_read_write(f"rw-{self.random.randrange(20)}", self.pick(), {"size": "20g"})
            return
        parent = "" if self.random.random() < 0.3 else self.pick()
        self.driver.create(name, parent)
        raw = tar_bytes(self.items(whole=not parent))  # type: ignore[arg-type]
        self.driver.apply_diff(name, None, io.BytesIO(raw))

    def remove(self) -> None:
        """Remove a layer, but none of an image: those are removed by collecting, or images stay without them."""
        names = [name for name in self.driver.home.names() if name.startswith(("layer-", "rw-"))]
        if names:
            self.driver.remove(self.random.choice(names))

    def get(self) -> None:
        name = self.pick()
        path = Path(self.driver.get(name))
        self.mounted.append(name)
        if not path.is_dir():
            raise AssertionError(f"{path} is not there, but it was mounted")

    def put(self) -> None:
        if self.mounted:
            self.driver.put(self.mounted.pop(self.random.randrange(len(self.mounted))))

    def work(self) -> None:
        """Mount a read-write layer, change it, unmount it, and sometimes make a layer of it."""
        names = [name for name in self.driver.home.names() if name.startswith("rw-")]
        if not names:
            return
        name = self.random.choice(names)
        folder_ = Path(self.driver.get(name)) / "Files" / "d"
        try:
            folder_.mkdir(parents=True, exist_ok=True)
            (folder_ / str(self.random.randrange(6))).unlink(missing_ok=True)
            (folder_ / f"new-{self.random.randrange(6)}").write_bytes(self.random.randbytes(500))
        except FileExistsError:
            pass  # two programs work in one tree
        finally:
            self.driver.put(name)
        if self.random.random() < 0.5:
            self.driver.commit(f"layer-{self.random.randrange(40)}", name)

    def read(self) -> None:
        name = self.pick()
        with self.driver.diff(name) as diff:
            while diff.read(1 << 16):
                pass
        self.driver.changes(name)
        self.driver.diff_size(name)

    def register(self) -> None:
        """Put in an image of some layers out of few, so that programs meet."""
        chain: list[str] = []
        for depth in range(self.random.randrange(1, 4)):
            rows = [folder("Files"), file(f"Files/{depth}", bytes([self.random.randrange(3)]) * 100)]
            raw = tar_bytes(rows)
            layer = self.store.register(lambda raw=raw: io.BytesIO(raw), chain[-1] if chain else None)  # type: ignore[misc]
            chain.append(layer.chain_id)
        self.store.hold(f"image-{self.random.randrange(5)}", chain)

    def release(self) -> None:
        self.store.release(f"image-{self.random.randrange(5)}")

    def collect(self) -> None:
        self.store.collect()

    def look(self) -> None:
        """List everything."""
        self.store.images()
        self.store.layers()
        list_layers(self.driver.home)


def main() -> None:
    """Run."""
    root, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    worker = Worker(root, seed, tell=True)
    for _ in range(count):
        worker.step()
    for name in list(worker.mounted):
        worker.driver.put(name)
    worker.store.close()


if __name__ == "__main__":
    main()
