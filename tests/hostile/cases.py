"""What a hostile case is, and the cases that are about names."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.hostile.tars import FILE, FOLDER, LINK, SYMLINK, archive, extended, file, folder, header, layer, member

__all__ = ["NAME_CASES", "Case"]


class Case(NamedTuple):
    """A layer that must be refused. ``mentions`` is what the message must name, as it is printed."""

    name: str
    make: Callable[[], bytes]
    mentions: tuple[str, ...]
    with_parent: bool = False

    def __str__(self) -> str:
        return self.name


def entry(name: str, *members: bytes, mentions: str | tuple[str, ...], with_parent: bool = False) -> Case:
    """A case out of members that follow a good beginning."""
    named = (mentions,) if isinstance(mentions, str) else mentions
    return Case(name, lambda: layer(*members), named, with_parent)


def _named(title: str, path: str, shown: str | None = None, kind: bytes = FILE) -> Case:
    return entry(title, member(path, kind, b"evil" if kind == FILE else b""), mentions=shown or path)


# ------------------------------------------------------------------------------------------------ leaving the layer

_DOTS = [
    _named("dots-first", "../evil/x"),
    _named("dots-far", "../../../../../../../../tmp/evil"),
    _named("dots-second", "Files/../../evil/x"),
    _named("dots-middle", "Files/a/../b"),
    _named("dots-after-dot", "./../evil/x"),
    _named("dots-last", "Files/a/.."),
    _named("dots-last-of-a-folder", "Files/a/../", "Files/a/..", FOLDER),
    _named("dots-alone", ".."),
    _named("dots-alone-folder", "../", "..", FOLDER),
    _named("dots-behind-empty-components", "Files//..//..//evil/x"),
    _named("dots-backslash-first", "..\\evil\\x"),
    _named("dots-backslash-middle", "a\\..\\..\\b"),
    _named("dots-backslash-and-slash", "Files\\../..\\evil/x"),
    _named("dots-backslash-deep", "Files/a\\..\\..\\..\\evil\\x"),
    _named("dots-long", "Files/" + "a/" * 60 + "../" * 62 + "evil/x", "../evil/x"),
    _named("dots-folder", "Files/../evil", kind=FOLDER),
    entry("dots-symlink", member("../evil/x", SYMLINK, linkname="C:\\x"), mentions="../evil/x"),
    entry("dots-link", member("../evil/x", LINK, linkname="Files/good.txt"), mentions="../evil/x"),
    entry("dots-in-prefix", header(b"evil", tail=b"Files/../../..".ljust(155, b"\0")), mentions="Files/../../../evil"),
]

_ABSOLUTE = [
    _named("absolute", "/tmp/evil"),
    _named("absolute-short", "/evil"),
    _named("absolute-twice", "//tmp/evil"),
    _named("absolute-root", "/", ""),
    _named("absolute-backslash", "\\tmp\\evil"),
    _named("absolute-folder", "/tmp/evil/", "/tmp/evil", FOLDER),
    _named("drive-backslash", "C:\\evil"),
    _named("drive-slash", "C:/evil"),
    _named("drive-relative", "C:evil"),
    _named("drive-alone", "c:"),
    _named("drive-behind-dot", "./C:/evil"),
    _named("drive-behind-slash", "/C:/evil"),
    _named("drive-folder", "D:/", "D:", FOLDER),
    _named("share", "\\\\server\\share\\evil"),
    _named("share-slashes", "//server/share/evil"),
    _named("device-path", "\\\\?\\C:\\evil"),
    _named("device-path-dot", "\\\\.\\PhysicalDrive0"),
    _named("device-path-slashes", "//?/C:/evil"),
    _named("native-path", "\\??\\C:\\evil"),
    _named("volume", "\\\\?\\Volume{b75e2c83-0000-0000-0000-602f00000000}\\evil"),
]

# ------------------------------------------------------------------------------------- names that mean something else

_STREAMS = [
    _named("stream-in-the-middle", "Files/a:s/b"),
    _named("stream-of-a-folder-in-the-middle", "Files:s/b"),
    _named("stream-type-in-the-middle", "Files/a::$INDEX_ALLOCATION/b"),
    _named("stream-with-separator", "Files/good.txt:s\\..\\..\\x"),
    _named("stream-with-three-colons", "Files/good.txt:a:b:c"),
    _named("stream-without-name", "Files/good.txt:"),
    _named("stream-that-is-the-data", "Files/good.txt::$DATA"),
    _named("stream-of-nothing", "Files/:s"),
    _named("stream-as-folder", "Files/good.txt:s/", "Files/good.txt:s", FOLDER),
    entry("stream-as-symlink", member("Files/a:s", SYMLINK, linkname="b"), mentions="Files/a:s"),
    entry("stream-as-link", member("Files/a:s", LINK, linkname="Files/good.txt"), mentions="Files/a:s"),
    entry(
        "stream-twice",
        file("Files/good.txt:s", b"1"),
        file("Files/good.txt:s", b"2"),
        mentions="Files/good.txt",
    ),
    _named("stream-name-too-long", "Files/good.txt:" + "s" * 256, "Files/good.txt:sss"),
]

_DEVICES = [
    _named(f"device-{number}", name)
    for number, name in enumerate(
        (
            "CON",
            "Files/con",
            "Files/PRN",
            "Files/aux/x",
            "Files/Nul",
            "Files/COM1",
            "Files/lpt9/x/y",
            "Files/COM\u00b9",
            "Files/CONIN$",
            "Files/conout$",
            "Files/./COM0",
            "Files\\NUL",
        )
    )
] + [_named("device-folder", "Files/CON/", "Files/CON", FOLDER)]

_LONG = [
    _named("component-of-256", "Files/" + "a" * 256, "Files/aaaa"),
    _named("component-of-256-units-in-128-characters", "Files/" + "\U0001f4a5" * 128, "Files/\U0001f4a5"),
    _named("component-of-256-folder", "Files/" + "a" * 256 + "/x", "Files/aaaa"),
    _named("component-of-a-megabyte", "Files/" + "a" * 1_000_000, "Files/aaaa"),
    _named("path-of-32768", "Files/" + "/".join(["a" * 200] * 163), "Files/aaaa"),
    _named("path-of-1025-components", "/".join(["a"] * 1025), "a/a/a"),
    _named("path-of-15000-components", "/".join(["a"] * 15_000), "a/a/a"),
    _named("folder-path-of-15000-components", "/".join(["a"] * 15_000) + "/", "a/a/a", FOLDER),
]

_EMPTY = [
    entry("nameless", header(b""), mentions="the path is empty"),
    entry("nameless-folder", header(b"", FOLDER), mentions="the path is empty"),
    _named("file-that-is-the-root", ".", "root"),
    _named("file-that-is-the-root-with-slash", "./", "root"),
]

_NULS = [
    entry("nul-in-path", extended({"path": b"Files/a\0b"}) + header(b"x"), mentions="path"),
    entry("nul-in-path-after-dots", extended({"path": b"../evil\0/x"}) + header(b"x"), mentions="path"),
    entry(
        "nul-in-linkpath", extended({"linkpath": b"Files/good.txt\0"}) + header(b"Files/x", LINK), mentions="linkpath"
    ),
    entry("nul-in-key", extended([(b"pa\0th", b"x")]) + header(b"Files/x"), mentions="NUL"),
]

_WHITEOUTS = [
    _named("whiteout-of-dots", "Files/.wh..."),
    _named("whiteout-of-dots-at-the-top", ".wh..."),
    _named("whiteout-of-the-folder", "Files/.wh.."),
    _named("whiteout-in-dots", "../.wh.evil", "../evil"),
    _named("whiteout-with-backslash", "Files/.wh...\\..\\evil", "Files/..\\..\\evil"),
    _named("whiteout-of-a-stream", "Files/.wh.good.txt:s", "Files/good.txt:s"),
    _named("whiteout-of-a-device", "Files/.wh.NUL", "Files/NUL"),
    _named("whiteout-absolute", "/.wh.evil", "/evil"),
    entry("whiteout-below-a-file", file("Files/good.txt/.wh.x", b""), mentions="Files/good.txt/x"),
    entry(
        "whiteout-below-a-symlink",
        member("Files/s", SYMLINK, linkname="C:\\x", records={"MSWINDOWS.fileattr": "1040"}),
        file("Files/s/.wh.x", b""),
        mentions="Files/s",
    ),
    entry("whiteout-with-two-megabytes", file("Files/.wh.x", bytes(2 << 20)), mentions="Files/.wh.x"),
]

# The very first entry decides what kind of file a bare path is taken for, so it has cases of its own.
_FIRST = [
    Case("first-entry-dots", lambda: archive(file("../evil/x")), ("../evil/x",)),
    Case("first-entry-dots-below-files", lambda: archive(file("Files/../../evil/x")), ("evil/x",)),
    Case("first-entry-absolute", lambda: archive(file("/tmp/evil")), ("/tmp/evil",)),
    Case("first-entry-drive", lambda: archive(file("C:\\evil")), ("C:\\evil",)),
    Case("first-entry-device", lambda: archive(file("NUL")), ("NUL",)),
    Case("first-entry-below-nothing", lambda: archive(folder("Files/.."), file("Files/x")), ("Files/..",)),
]

NAME_CASES = [
    *_DOTS,
    *_ABSOLUTE,
    *_STREAMS,
    *_DEVICES,
    *_LONG,
    *_EMPTY,
    *_NULS,
    *_WHITEOUTS,
    *_FIRST,
]
