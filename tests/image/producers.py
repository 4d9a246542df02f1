"""Layer tars as programs that build Windows images on Linux write them, header by header.

Sources: BuildKit ``util/winlayers``, go-containerregistry ``internal/windows`` (crane, ko), ``layer`` of Buildpacks'
``imgutil``; the blocks themselves are those of Go's ``archive/tar``, which all of them use.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.formats.tar.archives import records
from tests.formats.tar.building import END, block, padded
from wclayer.regf import minimal_hive

__all__ = [
    "ADMINISTRATORS",
    "BOOT",
    "CONFIG",
    "FILE_DESCRIPTOR",
    "FOLDER_DESCRIPTOR",
    "HIVE_FILES",
    "USERS",
    "buildkit",
    "crane",
    "imgutil",
    "imgutil_base",
]

# O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)
# (A;CI;DC;;;BU)
FOLDER_DESCRIPTOR = (
    "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA"
    "/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAA"
    "AAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA"
)
# O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)
FILE_DESCRIPTOR = (
    "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAAAAAAAFIAAAACACAAAAABQA"
    "/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA=="
)
# O:BUG:BU and O:BAG:BA
USERS = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="
ADMINISTRATORS = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQIAAAAAAAUgAAAAIAIAAA=="

BOOT = "UtilityVM/Files/EFI/Microsoft/Boot"
CONFIG = "Files/Windows/System32/config"
HIVE_FILES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")

_SECOND = 1_000_000_000
_DEVICES = {329: b"0000000\x000000000\0"}


def _entry(
    name: str,
    kind: str = "0",
    data: bytes = b"",
    given: Mapping[str, str] | None = None,
    *,
    mode: int = 0,
    time: int = 0,
    link: str = "",
) -> bytes:
    """One entry as Go's tar writer puts it; ``time`` in nanoseconds. Without records there is no extended header."""
    pairs = dict(given or {})
    if time % _SECOND:
        pairs["mtime"] = f"{time // _SECOND}.{time % _SECOND:09d}".rstrip("0")
    extended = b""
    if pairs:
        body = records(*((key.encode(), pairs[key].encode()) for key in sorted(pairs)))
        folder, _, base = name.rpartition("/")
        extended = block(f"{folder}/PaxHeaders.0/{base}".strip("/").encode(), b"x", size=len(body), mode=0)
        extended += padded(body)
    main = block(
        name.encode(),
        kind.encode(),
        size=len(data),
        mode=mode,
        mtime=time // _SECOND,
        link=link.encode(),
        fields=_DEVICES,
    )
    return extended + main + padded(data)


def buildkit(time: int = 1_600_000_000_005_000_000) -> bytes:
    """A diff by BuildKit: a folder with a program in it, both kinds of link, and a deletion.

    Names of folders end in a slash. The time of creation is that of the last write with its nanoseconds not padded to
    nine digits. The root comes before every target of a link, also of a symbolic one, which has no attributes.
    """

    def made(name: str, kind: str, data: bytes = b"", *, mode: int, target: str = "") -> bytes:
        own = {"LIBARCHIVE.creationtime": f"{time // _SECOND}.{time % _SECOND}"}
        if kind == "5":
            own |= {"MSWINDOWS.fileattr": "16", "MSWINDOWS.rawsd": FOLDER_DESCRIPTOR}
        if kind == "0":
            own |= {"MSWINDOWS.fileattr": "32", "MSWINDOWS.rawsd": FILE_DESCRIPTOR}
        type_bits = {"5": 0o40000, "0": 0o100000}.get(kind, 0)
        link = f"Files/{target}" if target else ""
        return _entry(f"Files/{name}", kind, data, own, mode=mode | type_bits, time=time, link=link)

    roots = {"MSWINDOWS.fileattr": "16", "LIBARCHIVE.creationtime": f"{time // _SECOND}.{time % _SECOND}"}
    return (
        b"".join(_entry(name, "5", given=roots, mode=0o40000, time=time) for name in ("Hives", "Files"))
        + made("app/", "5", mode=0o755)
        + made("app/a.exe", "0", b"MZ", mode=0o755)
        + made("app/hard.exe", "1", mode=0o755, target="app/a.exe")
        + made("app/link", "2", mode=0o777, target="a.exe")
        + made("app/.wh.gone", "0", mode=0)
        + END
    )


def crane(*, parents: bool = True, hard_link: bool = False) -> bytes:
    """A layer by go-containerregistry of a tar with one program; of the tar's folders only those that are in it.

    Every entry has the descriptor and no attributes. The target of a hard link stays as it was in the other tar.
    """
    users = {"MSWINDOWS.rawsd": USERS}
    return (
        b"".join(_entry(name, "5", mode=0o555) for name in ("Files", "Hives"))
        + (_entry("Files/app", "5", given=users, mode=0o755, time=1_600_000_000 * _SECOND) if parents else b"")
        + _entry("Files/app/a.exe", "0", b"MZ", users, mode=0o555, time=1_600_000_000 * _SECOND)
        + (_entry("Files/app/b.exe", "1", given=users, mode=0o555, link="app/a.exe") if hard_link else b"")
        + _entry("Files/app/.wh.gone", given=users, mode=0o644)
        + END
    )


def imgutil(*, root: bool = True) -> bytes:
    """A layer by imgutil: the roots and the folders above an entry bare, the entry with its owner's descriptor."""
    owner = {"MSWINDOWS.rawsd": ADMINISTRATORS if root else USERS}
    return (
        b"".join(_entry(name, "5") for name in ("Files", "Hives", "Files/cnb"))
        + _entry("Files/cnb/lifecycle", "5", given=owner, mode=0o755, time=315_532_801 * _SECOND)
        + _entry("Files/cnb/lifecycle/launcher.exe", "0", b"MZ", owner, mode=0o755, time=315_532_801 * _SECOND)
        + END
    )


def imgutil_base() -> bytes:
    """imgutil's base layer: a boot configuration that is a hive, and five hives that are empty files."""
    boot, config = BOOT.split("/"), CONFIG.split("/")
    folders = [
        b"".join(_entry("/".join(parts[:depth]), "5") for depth in range(1, len(parts) + 1)) for parts in (boot, config)
    ]
    hives = b"".join(_entry(f"{CONFIG}/{name}", mode=0o644) for name in HIVE_FILES)
    return folders[0] + _entry(f"{BOOT}/BCD", data=minimal_hive("BCD"), mode=0o644) + folders[1] + hives + END
