r"""Patterns over Windows paths: ``*`` and ``?`` within a name, ``[…]`` sets, ``**`` for any number of folders.

Names are compared folded, so ``*.DLL`` finds ``kernel32.dll``. Only folders that a pattern can reach are listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.paths import layer_path
from wclayer.image.view import Found, View
from wclayer.ntfs.names import fold

__all__ = ["find_all", "has_magic"]

_MAGIC = re.compile(r"[*?\[]")


def has_magic(pattern: str) -> bool:
    """Whether ``pattern`` is more than a path."""
    return bool(_MAGIC.search(pattern))


def find_all(view: View, pattern: str) -> Iterator[Found]:
    """Everything that ``pattern`` names, in order; a plain path names at most one thing, following links.

    Raises NotFoundError when it names nothing.
    """
    path = layer_path(pattern)
    if not has_magic(path):
        yield view.find(path)
        return
    names = path.split("/")
    fixed = next(index for index, name in enumerate(names) if has_magic(name))
    base = view.find("/".join(names[:fixed]))
    count = 0
    seen: set[str] = set()
    for found in _matches(view, base, [_compile(name) for name in names[fixed:]]):
        if found.path not in seen:
            seen.add(found.path)
            count += 1
            yield found
    if not count:
        raise NotFoundError(f"nothing matches {pattern}")


def _compile(name: str) -> re.Pattern[str] | None:
    """The expression of one component; None for ``**``."""
    if name == "**":
        return None
    parts = []
    position = 0
    while position < len(name):
        char = name[position]
        end = name.find("]", position + 2) if char == "[" else -1
        if char == "*":
            parts.append(r"[^/]*")
        elif char == "?":
            parts.append(r"[^/]")
        elif end > 0:
            body = fold(name[position + 1 : end]).replace("\\", "\\\\").replace("[", "\\[")
            parts.append("[" + ("^" + body[1:] if body[0] in "!^" else body) + "]")
            position = end
        else:
            parts.append(re.escape(fold(char)))
        position += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise UsageError(f"{name!r} is not a pattern: {error}") from None


def _matches(view: View, folder: Found, patterns: list[re.Pattern[str] | None]) -> Iterator[Found]:
    pattern, *rest = patterns
    if pattern is None:
        if rest:
            yield from _matches(view, folder, rest)
        for child in view.children(folder):
            if not rest:
                yield child
            if child.is_folder:
                yield from _matches(view, child, patterns)
        return
    for child in view.children(folder):
        if pattern.fullmatch(fold(child.name)):
            if not rest:
                yield child
            elif child.is_folder:
                yield from _matches(view, child, rest)
