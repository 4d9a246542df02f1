r"""The environment variables of a machine, as the registry of an image has them.

They are the values of ``SYSTEM\CurrentControlSet\Control\Session Manager\Environment``. What the configuration of an
image sets comes on top: a ``Path`` there hides the one of the registry, whatever is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from wclayer.errors import UsageError
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.key_paths import long_path
from wclayer.image.registry.values import type_name
from wclayer.ntfs.names import fold
from wclayer.oci import ImageConfig
from wclayer.regf import REG_EXPAND_SZ, REG_SZ, HiveValue
from wclayer.regf.text import RegSection

__all__ = ["ENVIRONMENT", "Variable", "add_path", "hidden_by_config", "list_environment", "set_variable"]

#: The key of the variables.
ENVIRONMENT: Final = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment"
_REFERENCE: Final = re.compile(r"%([^%;=]+)%")
# What Windows sets by itself, as it is in every image.
_BUILT_IN: Final = {"SYSTEMROOT": "C:\\Windows", "SYSTEMDRIVE": "C:", "WINDIR": "C:\\Windows"}
_LONGEST: Final = 32767


class Variable(NamedTuple):
    """A variable. ``expanded`` is its value with references to others put in; ``source`` says who sets it."""

    name: str
    value: str
    expanded: str
    type: str | None
    source: Literal["registry", "config"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()


def list_environment(registry: ImageRegistry, config: ImageConfig | None = None) -> list[Variable]:
    """The variables that the registry sets, and those of the configuration, by their names."""
    values = {value.name: value for value in _values(registry).values()}
    known = {**_BUILT_IN, **{fold(name): value.text() for name, value in values.items() if value.type == REG_SZ}}
    found = [
        Variable(name, value.text(), _expanded(value, known), type_name(value), "registry")
        for name, value in values.items()
    ]
    found += [Variable(name, text, text, None, "config") for name, text in _configured(config).items()]
    return sorted(found, key=lambda one: (fold(one.name), one.source))


def set_variable(registry: ImageRegistry, name: str, value: str) -> list[RegSection]:
    """The change that sets a variable. It keeps its type; a new one is REG_EXPAND_SZ when it refers to others.

    Raises UsageError for a name or a value that no variable can have.
    """
    if not name or "=" in name or "\0" in name or "\0" in value or len(value) >= _LONGEST:
        raise UsageError(f"no environment variable can be {name!r} with this value")
    known = _values(registry).get(fold(name))
    expand = known.type == REG_EXPAND_SZ if known is not None else False
    made = HiveValue.expand_sz if expand or _REFERENCE.search(value) else HiveValue.sz
    return [_section(registry, made(known.name if known is not None else name, value))]


def add_path(registry: ImageRegistry, folders: Sequence[str], *, prepend: bool = False) -> list[RegSection]:
    """The change that adds ``folders`` to ``Path``, at its end or with ``prepend`` at its beginning, in their order.

    Folders that are in it already, whatever their case and with variables put in, are not added again. The value stays
    REG_EXPAND_SZ. Raises UsageError for what cannot stand in a path.
    """
    for folder in folders:
        if not folder.strip() or any(character in folder for character in ';"\0\r\n'):
            raise UsageError(f"{folder!r} cannot stand in Path")
    values = _values(registry)
    known = values.get("PATH")
    variables = {**_BUILT_IN, **{name: value.text() for name, value in values.items() if value.type == REG_SZ}}
    there = [part for part in (known.text() if known is not None else "").split(";") if part.strip()]
    present = {_same(part, variables) for part in there}
    new: list[str] = []
    for folder in folders:
        if _same(folder, variables) not in present:
            present.add(_same(folder, variables))
            new.append(folder)
    if not new:
        return []
    text = ";".join([*new, *there] if prepend else [*there, *new])
    if len(text) >= _LONGEST:
        raise UsageError(f"Path would have {len(text)} characters, more than a variable can have")
    name = known.name if known is not None else "Path"
    made = HiveValue.sz if known is not None and known.type == REG_SZ and "%" not in text else HiveValue.expand_sz
    return [_section(registry, made(name, text))]


def hidden_by_config(config: ImageConfig | None, name: str) -> str | None:
    """A sentence when the configuration of the image sets the variable itself, which hides the registry's."""
    if any(fold(known) == fold(name) for known in _configured(config)):
        return (
            f"the configuration of the image sets {name} as well, and that is what a container sees, not the registry's"
        )
    return None


def _values(registry: ImageRegistry) -> dict[str, HiveValue]:
    key = registry.key(ENVIRONMENT)
    return {fold(value.name): value for value in key.values if value.name} if key is not None else {}


def _section(registry: ImageRegistry, value: HiveValue) -> RegSection:
    return RegSection(long_path(registry.path(ENVIRONMENT)), values=[value])


def _configured(config: ImageConfig | None) -> dict[str, str]:
    settings = config.document.get("config") if config is not None else None
    lines = settings.get("Env") if isinstance(settings, Mapping) else None
    texts = [line for line in lines if isinstance(line, str)] if isinstance(lines, list | tuple) else []
    return {name: value for name, _, value in (line.partition("=") for line in texts)}


def _expanded(value: HiveValue, known: Mapping[str, str]) -> str:
    return _expand(value.text(), known) if value.type == REG_EXPAND_SZ else value.text()


def _expand(text: str, known: Mapping[str, str]) -> str:
    return _REFERENCE.sub(lambda found: known.get(fold(found[1]), found[0]), text)


def _same(folder: str, known: Mapping[str, str]) -> str:
    """What two spellings of a folder have in common."""
    return fold(_expand(folder.strip().strip('"'), known).replace("/", "\\").rstrip("\\"))
