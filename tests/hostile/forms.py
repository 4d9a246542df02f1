"""Conversions to be disturbed: a small layer from each form into others, and what says whether the outcome is whole."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.hostile.tars import archive, file, folder, link, whiteout
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.formats.volume.layer import LAYER_MANIFEST

__all__ = ["JOBS", "Job", "arguments_in_a_process", "base_tar", "hidden", "layer_tar", "visible", "whole"]

FILES = 150

_PROGRAM = """
import sys
from pathlib import Path

def convert(source, destination):
    from wclayer.cli.main import main
    return main(["convert", source, destination])

def import_layer(tar, destination, *parents):
    from wclayer.image.transport_import import import_layer_from_tar
    import_layer_from_tar([Path(tar).read_bytes()], Path(destination), [Path(one) for one in parents])
    return 0

def export_layer(layer, tar):
    from wclayer.image.transport_export import export_layer_to_tar
    from wclayer.image.whole import new_file
    with new_file(Path(tar)) as file:
        export_layer_to_tar(Path(layer), file.write, is_base=False)
    return 0

def unpack_image(reference, destination):
    from wclayer.image.windows_image import unpack_windows_image
    unpack_windows_image(reference, Path(destination))
    return 0

WORK = {"convert": convert, "import": import_layer, "export": export_layer, "unpack": unpack_image}
"""

# Imports everything once and forks, so that a process that is killed was at work and not at importing.
ZYGOTE = (
    _PROGRAM
    + """
import json, os, signal, time
from wclayer.cli import convert as _
import wclayer.image.converting, wclayer.image.transport_import, wclayer.image.transport_export
import wclayer.image.windows_image

def child(verb, arguments):
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    try:
        os._exit(WORK[verb](*arguments))
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
    finally:
        os._exit(99)

for line in sys.stdin:
    (verb, *arguments), after = json.loads(line)
    started = time.monotonic()
    process = os.fork()
    if not process:
        child(verb, arguments)
    killed = False
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            break
        if after is not None and not killed and time.monotonic() - started >= after:
            os.kill(process, signal.SIGKILL)
            killed = True
        time.sleep(0.001)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    print(json.dumps([code, time.monotonic() - started]), flush=True)
"""
)

_ALONE = _PROGRAM + "\nraise SystemExit(WORK[sys.argv[1]](*sys.argv[2:]))\n"


def arguments_in_a_process(order: tuple[str, ...]) -> list[str]:
    """What runs ``order`` in a process of its own."""
    return [sys.executable, "-c", _ALONE, *order]


def base_tar() -> bytes:
    """What the layers stand on."""
    return archive(folder("Files"), folder("Files/a"), *(file(f"Files/a/base-{n}", b"base") for n in range(20)))


def layer_tar(*, diff: bool) -> bytes:
    """Some hundred small files, one with an alternate stream; with ``diff`` also links into the base and deletions."""
    members = [folder("Files"), folder("Files/a"), folder("Files/b")]
    members += [file(f"Files/b/{number:05}", b"x" * (number * 7), MSWINDOWS_fileattr="32") for number in range(FILES)]
    members += [file("Files/b/00149:s", b"alternate"), link("Files/b/own-link", "Files/b/00001")]
    if diff:
        members += [folder("Hives"), file("Hives/System_Delta", b"regf")]
        members += [link(f"Files/b/base-{number}", f"Files/a/base-{number}") for number in range(5)]
        members += [whiteout("Files/a", f"base-{number}") for number in range(6, 9)]
    return archive(*members)


class Job(NamedTuple):
    """A conversion: the order, what it makes in the folder ``work``, and what comes beside that."""

    order: tuple[str, ...]
    out: Path
    companions: tuple[Path, ...] = ()

    @property
    def work(self) -> Path:
        """Where it works."""
        return self.out.parent

    def run(self) -> None:
        """Run it to its end."""
        done = subprocess.run(arguments_in_a_process(self.order), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def convert(root: Path, source: str | Path, destination: str, name: str = "out") -> Job:
    """``wclayer convert`` to ``root/work``."""
    out = root / "work" / name
    companions = (out.with_name(f"{name}.ntfs"),) if destination == "transport:" else ()
    return Job(("convert", str(source), f"{destination}{out}"), out, companions)


def tar_to(destination: str) -> Callable[[Path], Job]:
    """A tar into a folder."""

    def make(root: Path) -> Job:
        (root / "layer.tar").write_bytes(layer_tar(diff=False))
        return convert(root, root / "layer.tar", destination)

    return make


def folder_to(form: str, destination: str, name: str = "out") -> Callable[[Path], Job]:
    """A folder of that form into something else."""

    def make(root: Path) -> Job:
        job = tar_to(form)(root)
        job.run()
        for found in (job.out, *job.companions):
            found.rename(root / found.name.replace("out", "source"))
        return convert(root, f"{form}{root / 'source'}", destination, name)

    return make


def _parent(root: Path) -> Path:
    (root / "parents").mkdir()
    (root / "base.tar").write_bytes(base_tar())
    (root / "layer.tar").write_bytes(layer_tar(diff=True))
    parent = root / "parents" / "base"
    Job(("import", str(root / "base.tar"), str(parent)), parent).run()
    return parent


def api_import(root: Path) -> Job:
    """``import_layer_from_tar`` on a parent, whose files get new names."""
    parent, out = _parent(root), root / "work" / "out"
    return Job(("import", str(root / "layer.tar"), str(out), str(parent)), out)


def api_export(root: Path) -> Job:
    """``export_layer_to_tar``, by way of a transport folder beside the layer."""
    parent, layer, out = _parent(root), root / "work" / "layer", root / "work" / "out.tar"
    Job(("import", str(root / "layer.tar"), str(layer), str(parent)), layer).run()
    return Job(("export", str(layer), str(out)), out)


JOBS: dict[str, Callable[[Path], Job]] = {
    "tar-transport": tar_to("transport:"),
    "tar-base": tar_to("base:"),
    "tar-plain": tar_to("plain:"),
    "transport-layer": folder_to("transport:", "layer:"),
    "transport-tar": folder_to("transport:", "", "out.tar"),
    "base-tar": folder_to("base:", "", "out.tar"),
    "plain-transport": folder_to("plain:", "transport:"),
    "plain-layer": folder_to("plain:", "layer:"),
    "api-import": api_import,
    "api-export": api_export,
}


def hidden(place: Path) -> list[Path]:
    """What an unfinished run leaves."""
    return [path for path in place.iterdir() if path.name.startswith(".")] if place.exists() else []


def visible(place: Path) -> set[str]:
    """Names that are not hidden."""
    return {path.name for path in place.iterdir() if not path.name.startswith(".")}


def whole(path: Path) -> str:
    """The digest of everything that is in a file or folder, databases by what they say."""
    found = hashlib.sha256()
    if path.is_dir():
        for base, folders, files in os.walk(path):
            folders.sort()
            found.update(f"{Path(base).relative_to(path)}/\n".encode())
            for name in sorted(files):
                found.update(f"{name}\n".encode() + _content(Path(base, name)))
    else:
        found.update(_content(path))
    return found.hexdigest()


def _content(path: Path) -> bytes:
    if path.name == "layer.db":
        with LayerFolder(path.parent) as layer:
            return repr([(item.path, getattr(item, "metadata", None)) for item in LayerFolderReader(layer)]).encode()
    if path.name == LAYER_MANIFEST or path.suffix == ".ntfs":
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            rows = database.execute(
                "SELECT path, attributes, content FROM names JOIN nodes USING (node)"
                " LEFT JOIN descriptors USING (descriptor) ORDER BY path"
            ).fetchall()
            return repr([rows, database.execute("SELECT CAST(path AS BLOB) FROM tombstones").fetchall()]).encode()
    return path.read_bytes()
