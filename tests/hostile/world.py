"""A small world around a destination: whoever changes anything in it, or leaves anything, is found out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.hostile.command import INTEGRITY, Command, Outcome, snapshot
from tests.hostile.images import Layout, packed
from tests.hostile.tars import archive, file, folder_symlink, junction, link, symlink
from tests.hostile.tars import folder as tar_folder

OUTSIDE = b"nobody may touch this"

#: What the layers stand on in cases that need a parent.
PARENT = archive(
    tar_folder("Files"),
    file("Files/base.txt", b"the base"),
    tar_folder("Files/base"),
    file("Files/base/inner.txt", b"inside"),
    folder_symlink("Files/base-symlink", "base"),
    symlink("Files/base-file-symlink", "base.txt"),
    junction("Files/base-junction", "\\??\\C:\\base"),
    link("Files/base-link.txt", "Files/base.txt"),
)


class World:
    """``destination`` is where things go; ``work`` is the folder it is made in."""

    def __init__(self, root: Path, command: Command) -> None:
        self.root = root
        self.command = command
        self.work = root / "work"
        self.destination = self.work / "out"
        self.work.mkdir()
        # Where "..", "../..", and a name like that of an entry would lead.
        for folder in (root, self.work, root / "outside", root / "evil"):
            folder.mkdir(exist_ok=True)
            (folder / "sentinel").write_bytes(OUTSIDE)
            (folder / "sentinel").chmod(0o640)

    def parent(self) -> Path:
        """The layer folder of PARENT, outside of the place of work."""
        tar = self.root / "parent.tar"
        tar.write_bytes(PARENT)
        destination = self.root / "parent"
        assert self.command("import", tar, destination).code == 0
        return destination

    def refused(
        self, *arguments: str | Path, mentions: Sequence[str] = (), code: int = INTEGRITY, keeps: Sequence[Path] = ()
    ) -> Outcome:
        """Run a command that has to be refused, without a trace; ``keeps`` may have come into being."""
        timeless = [self.work, self.destination]
        before = snapshot(self.root, without=timeless)
        outcome = self.command(*arguments)
        assert outcome.code == code, outcome
        assert outcome.err.startswith("wclayer: "), outcome
        assert len(outcome.err.splitlines()) == 1, outcome
        for text in mentions:
            assert text in outcome.err, outcome
        assert outcome.out == ""
        after = snapshot(self.root, without=timeless)
        stay = tuple(str(path) for path in keeps)
        kept = {path: trace for path, trace in after.items() if not (stay and path.startswith(stay))}
        assert kept == before
        return outcome

    def import_refused(
        self, layer: bytes, *mentions: str, with_parent: bool = False, options: Sequence[str] = ()
    ) -> None:
        """``wclayer import`` refuses this layer."""
        parents = ["--parent", str(self.parent())] if with_parent else []
        source = self.root / "layer.tar"
        source.write_bytes(layer)
        self.refused("import", source, self.destination, *parents, *options, mentions=mentions)

    def unpack_refused(
        self, layer: bytes, *mentions: str, with_parent: bool = False, options: Sequence[str] = ()
    ) -> None:
        """``wclayer unpack`` refuses an image with this layer on top; a good layer below it may stay."""
        layers = [PARENT, layer] if with_parent else [layer]
        image = Layout(layers, blobs=[packed(data) for data in layers])
        reference = image.write(self.root / "image")
        if not with_parent:
            self.refused("unpack", reference, self.destination, *options, mentions=mentions)
            return
        self.refused("unpack", reference, self.destination, *options, mentions=mentions, keeps=[self.destination])
        self.require_complete_layers_only(1)

    def require_complete_layers_only(self, count: int) -> None:
        """``destination`` holds ``count`` layers that are whole, and nothing of any other."""
        assert {path.name for path in self.destination.iterdir()} <= {"layers", ".wclayer.lock"}
        layers = list((self.destination / "layers").iterdir())
        assert len(layers) == count
        for path in layers:
            assert not path.name.startswith(".")
            assert self.command("verify", path).code == 0
