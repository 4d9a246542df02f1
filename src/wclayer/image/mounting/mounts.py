"""Mounting an image and unmounting it; where that cannot be, the tree is written out instead.

A mount is served by a process of its own, so that the command returns when the files are there. An image that is not
unpacked is unpacked first: into the upper folder, where it stays, or else into a hidden folder beside the mount, which
goes when the mount goes.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wclayer.errors import NotFoundError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.folder import remove_layer_folder, sweep
from wclayer.image.chain import find_parents, is_layer_folder
from wclayer.image.flatten import unpack_merged
from wclayer.image.mounting.filesystem import INFORMATION
from wclayer.image.mounting.fuse import fuse_problem
from wclayer.image.mounting.process import MountOrder, run_mount
from wclayer.image.mounting.upper import PARENTS
from wclayer.image.places import folder_made
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.unpack import UnpackOptions, unpack
from wclayer.image.unpacked import UnpackedImage, refuse_unfinished

if sys.platform != "win32":
    import fcntl

__all__ = ["MountInformation", "Mounted", "lasting", "layers_of", "mount", "mount_information", "unmount"]

_PROGRAM = (
    "import sys; descriptor = int(sys.argv[1]); sys.path[:] = sys.argv[2:];"
    " from wclayer.image.mounting.process import serve_order; serve_order(descriptor)"
)
_PATIENCE = 120.0  # seconds that a process has to mount, or to end
_MNT_DETACH = 2
_TRANSPORTS = ("oci", "oci-archive", "docker-archive", "dir")
_READ_AHEAD = 1024  # KiB


@dataclass(frozen=True, slots=True)
class Mounted:
    """What was mounted. ``written_out`` is why the tree was written out instead, None when it was not."""

    reference: str
    folder: Path
    layers: int
    upper: Path | None = None
    process: int | None = None
    written_out: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MountInformation:
    """What a mount says of itself: the process that serves it, the image, its layers nearest first."""

    process: int
    reference: str
    upper: Path | None
    layers: tuple[Path, ...]


def mount(
    reference: str,
    folder: Path,
    *,
    upper: Path | None = None,
    fuse: bool = True,
    foreground: bool = False,
    allow_other: bool = False,
    options: UnpackOptions = UnpackOptions(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
) -> Mounted:
    """Mount what a container of ``reference`` sees on ``folder``, which is made when it is not there.

    ``reference`` is an image, an unpacked image or a layer folder. With ``upper`` the mount can be written to, and that
    folder catches what is changed. Returns when the mount answers, or with ``foreground`` when it is unmounted. Without
    FUSE the tree is written to ``folder``.

    Raises UsageError when something is mounted there, StoreError for a folder that is not empty or an upper folder in
    use, UnsupportedError for an ``upper`` without FUSE, and what unpacking raises.
    """
    problem = fuse_problem() if fuse else "no FUSE was asked for"
    if problem is not None:
        if upper is not None:
            raise UnsupportedError(
                f"changes cannot be caught in an upper folder here: {problem}",
                hint="write the tree out, change it, and give it to wclayer commit with --parent",
            )
        return _written_out(reference, folder, problem, options, progress)
    if upper is not None and upper.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UsageError(f"{folder} lies in the upper folder {upper}")
    with folder_made(folder), _placed(reference, folder, upper, options, progress) as (layers, scratch, lock, notes):
        _prepare(folder)
        order = MountOrder(
            lasting(reference),
            tuple(str(layer) for layer in layers),
            str(folder.absolute()),
            None if upper is None else str(upper.absolute()),
            allow_other,
            None if scratch is None else str(scratch),
        )
        if foreground:
            run_mount(order)
            if scratch is not None:
                remove_layer_folder(scratch)
            return Mounted(reference, folder, len(layers), upper, os.getpid(), notes=notes)
        try:
            process = _start(order, lock)
        except UnsupportedError as error:
            if upper is not None:
                raise
            problem = error.message
            if scratch is not None:
                with suppress(NotFoundError):  # the process has removed it, if there was one
                    remove_layer_folder(scratch)
    if problem is not None:  # there is FUSE, but it may not be used
        return _written_out(reference, folder, problem, options, progress)
    _read_further_ahead(folder)
    return Mounted(reference, folder, len(layers), upper, process, notes=notes)


def _written_out(reference: str, folder: Path, problem: str, options: UnpackOptions, progress: Progress) -> Mounted:
    merged = unpack_merged(reference, folder, options, progress)
    return Mounted(reference, folder, merged.layers, written_out=problem, notes=merged.notes)


def unmount(folder: Path, *, lazy: bool = False) -> MountInformation:
    """Unmount ``folder`` and wait until all that was written is on disk. ``lazy`` does not wait for open files.

    Raises NotFoundError when nothing of this program is mounted there, StoreError when it is in use.
    """
    about = mount_information(folder)
    if about is None and _is_deserted(folder):
        _unmount(folder, lazy=True)  # nobody is there to wait for
        return MountInformation(0, "an image whose process had ended", None, ())
    if about is None:
        hint = "it is a tree that was written out: remove it like any folder" if is_layer_folder(folder) else None
        raise NotFoundError(f"no image is mounted on {folder}", hint=hint)
    process = _watched_process(about.process)
    try:
        _unmount(folder, lazy=lazy)
        if process >= 0 and not lazy:
            poll = select.poll()
            poll.register(process, select.POLLIN)
            if not poll.poll(_PATIENCE * 1000):
                raise StoreError(f"{folder} is unmounted, but process {about.process} has not ended")
    finally:
        if process >= 0:
            os.close(process)
    return about


def _is_deserted(folder: Path) -> bool:
    """Whether a mount is there whose process was killed."""
    try:
        folder.stat()
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def mount_information(folder: Path) -> MountInformation | None:
    """What is mounted on ``folder``, None when it is no mount of this program."""
    try:
        document: dict[str, Any] = json.loads(os.getxattr(folder, INFORMATION))
        upper = document["upper"]
        return MountInformation(
            int(document["process"]),
            str(document["image"]),
            None if upper is None else Path(upper),
            tuple(Path(layer) for layer in document["layers"]),
        )
    except (AttributeError, OSError, KeyError, TypeError, ValueError):
        return None  # no such attribute, or that of some other file system


def layers_of(reference: str) -> tuple[Path, ...] | None:
    """The layer folders of what is unpacked, nearest first; None for an image that is not."""
    path = Path(reference)
    if UnpackedImage.is_one(path):
        return tuple(layer.absolute() for layer in UnpackedImage.load(path).layers)
    if is_layer_folder(path):
        return (path.absolute(), *find_parents(path))
    return None


def lasting(reference: str) -> str:
    """``reference`` with a path that means the same from any folder."""
    if Path(reference).exists():
        return str(Path(reference).absolute())
    transport, colon, rest = reference.partition(":")
    if colon and transport in _TRANSPORTS and rest and not rest.startswith("/"):
        return f"{transport}:{Path.cwd()}/{rest}"
    return reference


@contextmanager
def _placed(
    reference: str, folder: Path, upper: Path | None, options: UnpackOptions, progress: Progress
) -> Iterator[tuple[tuple[Path, ...], Path | None, int, tuple[str, ...]]]:
    """The layers; the folder they were unpacked to for this mount alone, with a descriptor that locks it; and notes."""
    layers = layers_of(reference)
    if layers is not None:
        yield layers, None, -1, ()
        return
    refuse_unfinished(Path(reference))
    if upper is not None:
        result = unpack(reference, upper / PARENTS, options, progress)
        yield UnpackedImage.load(result.folder.absolute()).layers, None, -1, result.notes
        return
    scratch, lock = _scratch(folder)
    try:
        result = unpack(reference, scratch / "image", options, progress)
        yield UnpackedImage.load(scratch / "image").layers, scratch, lock, result.notes
    except BaseException:
        with suppress(NotFoundError):
            remove_layer_folder(scratch)
        raise
    finally:
        os.close(lock)


def _scratch(folder: Path) -> tuple[Path, int]:
    """A hidden folder beside ``folder``, locked; without a lock the next one who comes by removes it."""
    parent = folder.absolute().parent
    sweep(parent)
    scratch = parent / f".{os.fsencode(folder.name)[:128].decode('utf-8', 'ignore')}.wclayer-{secrets.token_hex(8)}"
    try:
        scratch.mkdir(mode=0o700)
        lock = os.open(scratch, os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise StoreError(
            f"cannot make a folder beside {folder} to unpack to: {error.strerror}",
            hint="unpack the image first, and mount that",
        ) from error
    return scratch, lock


def _prepare(folder: Path) -> None:
    try:
        if mount_information(folder) is not None:
            raise UsageError(f"an image is mounted on {folder}", hint="unmount it first: wclayer umount")
        if any(folder.iterdir()):
            raise StoreError(f"{folder} is not an empty folder", hint="name a new or an empty one")
    except OSError as error:
        if error.errno == errno.ENOTCONN:
            hint = f"a mount there lost its process: wclayer umount {folder}"
            raise StoreError(f"{folder} is a mount that nobody serves", hint=hint) from error
        raise StoreError(f"cannot use {folder}: {error.strerror}") from error


def _start(order: MountOrder, lock: int) -> int:
    """Start the process and wait until it has mounted. Raises what it says went wrong."""
    if getattr(sys, "frozen", False) or not sys.executable:
        raise UnsupportedError("there is no interpreter to start", hint="mount in the foreground")
    answer, descriptor = os.pipe()
    inherited = (descriptor,) if lock < 0 else (descriptor, lock)
    try:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a program from here
            [sys.executable, "-c", _PROGRAM, str(descriptor), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=inherited,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        os.close(answer)
        raise StoreError(f"cannot start a process: {error.strerror}") from error
    finally:
        os.close(descriptor)
    with os.fdopen(answer, "rb", buffering=0) as told:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        try:
            process.stdin.write(order.to_json().encode())
            process.stdin.close()
            text = _first(told.fileno())
        except BaseException:
            process.kill()
            process.wait()
            raise
    document: dict[str, Any] = json.loads(text) if text else {"error": "the process that should serve it ended"}
    if not document.get("mounted"):
        process.wait()
        failure = next(
            (kind for kind in WclayerError.__subclasses__() if kind.exit_code == document.get("code")), StoreError
        )
        raise failure(str(document["error"]), hint=document.get("hint"))
    process.returncode = 0  # it is on its own now, and nobody waits for it
    return process.pid


def _read_further_ahead(folder: Path) -> None:
    """Have the kernel ask for large pieces, where that may be said: each question costs as much as a large one."""
    with suppress(OSError):
        device = folder.stat().st_dev
        setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
        if int(setting.read_text()) < _READ_AHEAD:
            setting.write_text(str(_READ_AHEAD))


def _first(descriptor: int) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
    if not ready:
        raise StoreError("the process that should serve the mount says nothing")
    return os.read(descriptor, 1 << 16)


def _watched_process(process: int) -> int:
    """A descriptor that tells when the process ends, -1 where there is none."""
    try:
        return os.pidfd_open(process) if sys.platform == "linux" else -1
    except OSError:
        return -1


def _unmount(folder: Path, *, lazy: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(folder), _MNT_DETACH if lazy else 0) == 0:
        return
    number = ctypes.get_errno()
    if number == errno.EPERM:  # only the program with that privilege can, for whoever mounted it
        helper = shutil.which("fusermount3") or shutil.which("fusermount")
        if helper is not None:
            flags = ["-u", "-z"] if lazy else ["-u"]
            done = subprocess.run([helper, *flags, os.fspath(folder)], capture_output=True, check=False)  # noqa: S603
            if done.returncode == 0:
                return
            raise StoreError(f"cannot unmount {folder}: {done.stderr.decode(errors='replace').strip()}")
    hint = "close what is open there, or unmount lazily" if number == errno.EBUSY else None
    raise StoreError(f"cannot unmount {folder}: {os.strerror(number)}", hint=hint)
