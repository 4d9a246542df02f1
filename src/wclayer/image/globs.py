r"""Patterns over Windows paths: ``*`` and ``?`` within a name, ``[…]`` sets, ``**`` for any number of folders.

Names are compared folded, so ``*.DLL`` finds ``kernel32.dll``. Only folders that a pattern can reach are listed, each
once, whatever the pattern. Links to folders are found, not entered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.paths import layer_path
from wclayer.image.view import Found, View
from wclayer.ntfs.names import fold

__all__ = ["find_all", "has_magic"]

_MAGIC = re.compile(r"[*?\[]")
_SET = re.compile(r"\[([!^]?)(\]?[^\]]*)\]", re.DOTALL)

_Steps: TypeAlias = list[re.Pattern[str] | None]
"""A pattern, one expression for each component; None is ``**``, any number of folders."""


def has_magic(pattern: str) -> bool:
    """Whether ``pattern`` is more than a path."""
    return bool(_MAGIC.search(pattern))


def find_all(view: View, pattern: str) -> Iterator[Found]:
    """Everything that ``pattern`` names, in order; a plain path names one thing, following links.

    A name that holds brackets is a plain path where there is such a file. Raises NotFoundError when it names nothing.
    """
    path = layer_path(pattern)
    if not has_magic(path):
        yield view.find(path)
        return
    if "[" in path:
        try:
            literal = view.find(path)
        except NotFoundError:
            pass
        else:
            yield literal
            return
    names = path.split("/")
    fixed = next(index for index, name in enumerate(names) if has_magic(name))
    steps = _steps(names[fixed:])
    try:
        base = view.find("/".join(names[:fixed]))
    except NotFoundError as error:
        raise NotFoundError(f"nothing matches {pattern}: {error.message}") from None
    count = 0
    for found in _matches(view, base, steps):
        count += 1
        yield found
    if not count:
        raise NotFoundError(f"nothing matches {pattern}")


def _steps(names: list[str]) -> _Steps:
    steps: _Steps = []
    for name in names:
        if name == "**":
            if not steps or steps[-1] is not None:
                steps.append(None)
        else:
            steps.append(_expression(name))
    if steps[-1] is None:
        steps.append(_expression("*"))  # a/** is everything below a
    return steps


def _expression(name: str) -> re.Pattern[str]:
    """The expression of one component. Each run between asterisks is taken where it comes first, and never anew."""
    runs = [""]
    position = 0
    while position < len(name):
        char = name[position]
        bracket = _SET.match(name, position) if char == "[" else None
        if bracket and bracket[2]:
            runs[-1] += _set(bracket[2], name, negated=bool(bracket[1]))
            position = bracket.end()
            continue
        if char == "*":
            runs.append("")
        else:
            runs[-1] += "." if char == "?" else re.escape(fold(char))
        position += 1
    first, *rest = runs
    middle = "".join(f"(?>.*?{run})" for run in rest[:-1] if run)
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def _set(body: str, name: str, *, negated: bool) -> str:
    body = fold(body)
    members = []
    position = 0
    while position < len(body):
        first, hyphen, last = body[position], body[position + 1 : position + 2], body[position + 2 : position + 3]
        if hyphen == "-" and last:
            if first > last:
                raise UsageError(f"{name!r} is not a pattern: {first} comes after {last}")
            members.append(f"{re.escape(first)}-{re.escape(last)}")
            position += 3
        else:
            members.append(re.escape(first))
            position += 1
    return f"[{'^' if negated else ''}{''.join(members)}]"


def _matches(view: View, base: Found, steps: _Steps) -> Iterator[Found]:
    """What ``steps`` reach from ``base``, in the order of a walk: an automaton, with a set of steps for each folder."""
    pending = [(iter(view.children(base)), _closed({0}, steps))]
    while pending:
        children, states = pending[-1]
        for child in children:
            name = fold(child.name)
            reached = {state for state in states if steps[state] is None}
            for state in states:
                expression = steps[state]
                if expression is not None and expression.fullmatch(name):
                    reached.add(state + 1)
            if len(steps) in reached:
                yield child
            reached = _closed(reached - {len(steps)}, steps)
            if child.is_folder and reached:
                pending.append((iter(view.children(child)), reached))
                break
        else:
            pending.pop()


def _closed(states: set[int], steps: _Steps) -> set[int]:
    """``states``, and those that no folder at all leads to: ``**`` may stand for nothing."""
    return states | {state + 1 for state in states if steps[state] is None}
