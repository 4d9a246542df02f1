"""Links of Windows as links of this machine, and the other way round.

A symbolic link or junction leads to a place of the image; here it becomes a relative link to the same place below the
mount, wherever that is mounted. A link that leads out of the image leads nowhere here.
"""

from __future__ import annotations

import posixpath

from wclayer.errors import NotFoundError
from wclayer.image.paths import link_destination
from wclayer.ntfs.reparse import build_link, link_target

__all__ = ["relative_target", "reparse_for"]


def relative_target(path: str, reparse: bytes) -> str:
    """Where the link with this buffer at the layer path ``path`` leads, as seen from its folder.

    For what is outside of the image it is the target as Windows has it, for nothing of that name is here.
    """
    folder = path.rpartition("/")[0]
    target = link_target(reparse)
    try:
        destination = link_destination(target, folder)
    except NotFoundError:
        return target.replace("/", "\\") or "\\"
    return posixpath.relpath("/" + destination, "/" + folder)


def reparse_for(path: str, target: str, mount: str) -> bytes:
    """The buffer of a symbolic link at the layer path ``path`` to ``target``, a path of this machine.

    An absolute path below ``mount`` is the place in the image, any other one is taken from the top of the drive; what
    begins with a drive letter or is separated by backslashes is taken as it is. Raises WclayerError.
    """
    if target[1:2] == ":" or "\\" in target:
        return build_link(target, mount_point=False)
    if not target.startswith("/"):
        return build_link(target, mount_point=False)
    inside = target.removeprefix(mount.rstrip("/")) if target.startswith(mount.rstrip("/") + "/") else "/Files" + target
    root, _, rest = inside.lstrip("/").partition("/")
    if root.upper() == "FILES":
        return build_link("\\" + rest, mount_point=False)
    folder = path.rpartition("/")[0]
    return build_link(posixpath.relpath(inside, "/" + folder), mount_point=False)
