"""Hostile cases about links, and about entries that are in each other's way."""

from __future__ import annotations

from tests.hostile.cases import Case, entry
from tests.hostile.tars import (
    LINK,
    SYMLINK,
    extended,
    file,
    folder,
    folder_symlink,
    header,
    junction,
    link,
    member,
    symlink,
    whiteout,
)

__all__ = ["LINK_CASES", "ORDER_CASES"]

GOOD = "Files/good.txt"


def _to(title: str, target: str, shown: str | None = None, *, with_parent: bool = False) -> Case:
    """A hard link to ``target``."""
    return entry(title, link("Files/l", target), mentions=("Files/l", shown or target), with_parent=with_parent)


_OUT = [
    _to("link-to-dots", "../evil/sentinel"),
    _to("link-to-dots-far", "../../../../../../etc/passwd"),
    _to("link-to-dots-in-the-middle", "Files/../../outside/sentinel"),
    _to("link-to-dots-that-stay", "Files/a/../good.txt"),
    _to("link-to-dots-backslash", "..\\evil\\sentinel"),
    _to("link-to-absolute", "/etc/passwd"),
    _to("link-to-absolute-backslash", "\\Windows\\System32\\config\\SAM"),
    _to("link-to-drive", "C:\\Windows\\x"),
    _to("link-to-drive-relative", "C:good.txt"),
    _to("link-to-share", "\\\\server\\share\\x"),
    _to("link-to-device-path", "\\\\?\\C:\\x"),
    _to("link-to-device", "Files/NUL"),
    _to("link-to-stream", "Files/good.txt:s"),
    _to("link-to-missing", "Files/missing"),
    _to("link-to-missing-in-parent-too", "Files/missing", with_parent=True),
    _to("link-to-what-is-outside-only", "sentinel"),
    _to("link-to-what-is-outside-only-by-name-of-folder", "outside/sentinel"),
    _to("link-to-database", "layer.db"),
    _to("link-to-database-of-parent", "layer.db", with_parent=True),
    _to("link-to-nothing", "", "empty"),
    _to("link-to-itself", "Files/l"),
    _to("link-to-deep-nowhere", "/".join(["a"] * 2000), "a/a/a"),
]

_THROUGH = [
    entry(
        f"link-through-{title}",
        maker("Files/s", "good-folder"),
        folder("Files/good-folder"),
        file("Files/good-folder/x"),
        link("Files/l", target),
        mentions=("Files/l", "Files/s"),
    )
    for title, maker, target in (
        ("symlink", symlink, "Files/s/x"),
        ("folder-symlink", folder_symlink, "Files/s/x"),
        ("junction", junction, "Files/s/x"),
        ("symlink-of-other-case", folder_symlink, "FILES/S/x"),
        ("symlink-with-backslash", folder_symlink, "Files\\s\\x"),
    )
] + [
    entry(
        "link-through-symlink-that-comes-later",
        link("Files/l", "Files/s/x"),
        folder_symlink("Files/s"),
        mentions="Files/l",
    ),
    entry("link-through-file", link("Files/l", f"{GOOD}/x"), mentions="Files/l"),
    entry(
        "link-through-parent-symlink",
        link("Files/l", "Files/base-symlink/inner.txt"),
        mentions="Files/l",
        with_parent=True,
    ),
    entry(
        "link-through-parent-junction",
        link("Files/l", "Files/base-junction/inner.txt"),
        mentions="Files/l",
        with_parent=True,
    ),
    entry(
        "link-through-own-symlink-to-parent",
        folder_symlink("Files/base"),
        link("Files/l", "Files/base/inner.txt"),
        mentions="Files/l",
        with_parent=True,
    ),
]

_ODD = [
    entry("link-to-symlink", symlink("Files/s"), link("Files/l", "Files/s"), mentions=("Files/l", "Files/s")),
    entry("link-to-junction", junction("Files/s"), link("Files/l", "Files/s"), mentions=("Files/l", "Files/s")),
    entry(
        "link-to-symlink-by-way-of-link",
        symlink("Files/s"),
        link("Files/k", "Files/s"),
        link("Files/l", "Files/k"),
        mentions="Files/s",
    ),
    entry("link-to-parent-symlink", link("Files/l", "Files/base-file-symlink"), mentions="Files/l", with_parent=True),
    entry("link-to-folder", folder("Files/d"), link("Files/l", "Files/d"), mentions=("Files/l", "Files/d")),
    entry("link-to-implied-folder", file("Files/d/x"), link("Files/l", "Files/d"), mentions=("Files/l", "Files/d")),
    entry("link-to-parent-folder", link("Files/l", "Files/base"), mentions=("Files/l", "Files/base"), with_parent=True),
    entry("link-to-top-folder", link("Files/l", "Files"), mentions="Files/l"),
    entry("link-to-root", link("Files/l", "."), mentions="Files/l"),
    entry("link-to-deleted", whiteout("Files", "gone"), link("Files/l", "Files/gone"), mentions="Files/l"),
    entry("link-cycle-of-two", link("Files/a", "Files/b"), link("Files/b", "Files/a"), mentions="circle"),
    entry(
        "link-cycle-of-three",
        link("Files/a", "Files/b"),
        link("Files/b", "Files/c"),
        link("Files/c", "Files/a"),
        mentions="circle",
    ),
    entry(
        "link-cycle-behind-a-link",
        link("Files/a", "Files/b"),
        link("Files/b", "Files/c"),
        link("Files/c", "Files/b"),
        mentions="circle",
    ),
    entry("link-cycle-by-case", link("Files/a", "Files/B"), link("Files/b", "Files/A"), mentions="circle"),
    entry("link-with-data", member("Files/l", LINK, b"data", linkname=GOOD), mentions="Files/l"),
    entry("link-with-hidden-member", member("Files/l", LINK, file("../evil/x"), linkname=GOOD), mentions="evil/x"),
    entry("link-where-a-file-is", link(GOOD, "Files/base.txt"), mentions=GOOD, with_parent=True),
    entry("link-below-a-file", link(f"{GOOD}/l", GOOD), mentions=f"{GOOD}/l"),
    entry("link-below-a-symlink", folder_symlink("Files/s"), link("Files/s/l", GOOD), mentions="Files/s/l"),
    entry(
        "bad-link-after-good-ones",
        link("Files/k", "Files/base.txt"),
        link("Files/l", "Files/base/inner.txt"),
        link("Files/z", "Files/missing"),
        mentions="Files/z",
        with_parent=True,
    ),
    entry(
        "nul-in-link-target",
        extended({"linkpath": b"Files/good.txt\0x"}) + header(b"Files/l", LINK),
        mentions="linkpath",
    ),
    entry("symlink-without-target", member("Files/s", SYMLINK), file("Files/s/x"), mentions="Files/s"),
    entry("symlink-with-enormous-target", symlink("Files/s", "a" * 40_000), mentions="Files/s"),
]

LINK_CASES = [*_OUT, *_THROUGH, *_ODD]

_MAKERS = {"symlink": symlink, "folder-symlink": folder_symlink, "junction": junction}

_BELOW = [
    case
    for title, maker in _MAKERS.items()
    for case in (
        entry(f"below-{title}", maker("Files/s"), file("Files/s/x"), mentions="Files/s/x"),
        entry(f"below-{title}-of-other-case", maker("Files/s"), file("Files/S/x"), mentions="Files/S"),
        entry(f"below-{title}-of-other-case-in-other-folder", maker("Files/s"), file("FILES/s/x"), mentions="s"),
        entry(f"below-{title}-before-it", file("Files/s/x"), maker("Files/s"), mentions="Files/s"),
        entry(f"below-{title}-of-other-case-before-it", file("Files/S/x"), maker("Files/s"), mentions="Files/S"),
        entry(f"below-{title}-deep", maker("Files/s"), file("Files/s/a/b/c/x"), mentions="Files/s/a/b/c/x"),
        entry(f"below-{title}-a-folder", maker("Files/s"), folder("Files/s/x/"), mentions="Files/s/x"),
        entry(f"below-{title}-backslash", maker("Files/s"), file("Files\\s\\x"), mentions="x"),
    )
] + [
    entry("below-a-file", file(f"{GOOD}/x"), mentions=f"{GOOD}/x"),
    entry("below-a-file-of-other-case", file("Files/GOOD.TXT/x"), mentions="Files/GOOD.TXT"),
    entry("below-a-file-before-it", file("Files/f/x"), file("Files/f"), mentions="Files/f"),
    entry("below-a-file-of-other-case-before-it", file("Files/F/x"), file("Files/f"), mentions="Files/F"),
    entry("below-a-link", link("Files/l", GOOD), file("Files/l/x"), mentions="Files/l"),
    entry("below-a-link-before-it", file("Files/l/x"), link("Files/l", GOOD), mentions="Files/l"),
    entry("below-a-file-that-is-the-top", file("Hives"), file("Hives/x"), mentions="Hives/x"),
    entry("symlink-that-is-the-top", folder_symlink("Hives"), file("Hives/x"), mentions="Hives/x"),
    entry("symlink-where-the-top-is", folder_symlink("Files"), mentions="Files"),
    entry("symlink-where-the-top-is-by-case", folder_symlink("FILES"), mentions="Files"),
]

_TWICE = [
    entry(f"twice-{title}", *members, mentions=path)
    for title, path, *members in (
        ("file-file", GOOD, file(GOOD)),
        ("file-file-by-dot", GOOD, file("./Files/good.txt")),
        ("file-file-by-inner-dot", GOOD, file("Files/./good.txt")),
        ("file-file-by-two-slashes", GOOD, file("Files//good.txt")),
        ("file-file-by-backslash", GOOD, file("Files\\good.txt")),
        ("file-file-by-trailing-slash", GOOD, file(f"{GOOD}/")),
        ("folder-folder", "Files/d", folder("Files/d"), folder("Files/d")),
        ("folder-folder-by-slash", "Files/d", folder("Files/d"), folder("Files/d/")),
        ("folder-folder-by-backslash", "Files/d", folder("Files/d"), folder("Files\\d")),
        ("folder-folder-with-content", "Files/d", folder("Files/d"), file("Files/d/x"), folder("Files/d")),
        ("folder-folder-the-top", "Files", folder("Files/")),
        ("file-folder", GOOD, folder(GOOD)),
        ("file-folder-by-slash", GOOD, folder(f"{GOOD}/")),
        ("folder-file", "Files/d", folder("Files/d"), file("Files/d")),
        ("implied-folder-file", "Files/d", file("Files/d/x"), file("Files/d")),
        ("folder-file-the-top", "Files", file("Files")),
        ("file-link", GOOD, link(GOOD, "Files/other")),
        ("link-file", "Files/l", link("Files/l", GOOD), file("Files/l")),
        ("link-link", "Files/l", link("Files/l", GOOD), link("Files/l", GOOD)),
        ("link-link-by-backslash", "Files/l", link("Files/l", GOOD), link("Files\\l", GOOD)),
        ("folder-link", "Files/d", folder("Files/d"), link("Files/d", GOOD)),
        ("link-folder", "Files/d", link("Files/d", GOOD), folder("Files/d")),
        ("symlink-file", "Files/s", symlink("Files/s"), file("Files/s")),
        ("file-symlink", GOOD, symlink(GOOD)),
        ("symlink-symlink", "Files/s", symlink("Files/s"), symlink("Files/s")),
        ("folder-symlink", "Files/d", folder("Files/d"), folder_symlink("Files/d")),
        ("junction-folder", "Files/d", junction("Files/d"), folder("Files/d")),
        ("folder-junction-with-content", "Files/d", folder("Files/d"), file("Files/d/x"), junction("Files/d")),
    )
]

ORDER_CASES = [*_BELOW, *_TWICE]
