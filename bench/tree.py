"""The shape of a Windows layer: which folders, files, links and deletions there are, in the order hcsshim walks them.

Names and proportions follow a Windows base layer: a fifth of the names are hard links between the component store and
System32, nearly a fifth as many folders come on top, most of them in the component store under very long names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Node", "Shape", "nodes"]

_SYSTEM = (
    "Windows/System32",
    "Windows/SysWOW64",
    "Windows/System32/drivers",
    "Windows/System32/en-US",
    "Windows/System32/wbem",
    "Windows/System32/DriverStore/FileRepository",
    "Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}",
    "Windows/Microsoft.NET/Framework64/v4.0.30319",
    "Windows/INF",
    "Windows/servicing/Packages",
    "Windows/WinSxS/Manifests",
    "Windows/Globalization",
    "Program Files/Common Files/microsoft shared",
    "ProgramData/Microsoft/Crypto",
    "Users/Public/Documents",
)
_OFTEN = (12, 6, 2, 4, 2, 4, 3, 3, 5, 6, 8, 1, 1, 1, 1)
_TEXT = ("INF", "Packages", "Manifests")
# fmt: off
_STEMS = (
    "advapi", "bcrypt", "combase", "crypt", "dnsapi", "iphlp", "kernel", "lsa", "mscor", "msvc", "netapi", "ntdll",
    "ole", "propsys", "rpc", "sam", "secur", "setupapi", "shell", "taskschd", "tcpip", "ucrt", "user", "wevt",
    "winhttp", "wldap", "wmi", "xml",
)
# fmt: on
_HIVES = ("DefaultUser_Base", "Sam_Base", "Security_Base", "Software_Base", "System_Base")


@dataclass(frozen=True)
class Shape:
    """``files`` names of files, a fifth of them hard links, and ``size`` bytes of data.

    ``spread`` is the standard deviation of the logarithm of the sizes: about 2 in a base layer.
    """

    files: int
    size: int
    seed: int = 1
    spread: float = 2.0


class Node(NamedTuple):
    """One name. ``kind`` is folder, file, link, reparse or deletion; ``target`` is what a link leads to."""

    path: str
    kind: str
    number: int
    size: int = 0
    program: bool = True
    target: str = ""


def nodes(shape: Shape) -> Iterator[Node]:
    """Every name of the layer, sorted as a walk without regard to case finds them: parents before children."""
    chance = random.Random(shape.seed)
    found = _folders(shape, chance)
    stores = [node.path for node in found if "/WinSxS/amd64" in node.path]
    found += _files(shape, chance, stores)
    found.sort(key=lambda node: node.path.lower().split("/"))
    first: dict[int, str] = {}
    data = {node.number: node for node in found if node.kind == "file"}
    for node in found:
        if node.kind in {"file", "link"}:
            # Whichever name the walk meets first carries the data.
            if node.number in first:
                yield Node(node.path, "link", node.number, target=first[node.number])
                continue
            first[node.number] = node.path
            owner = data[node.number]
            yield owner._replace(path=node.path)
            continue
        yield node


def _folders(shape: Shape, chance: random.Random) -> list[Node]:
    paths = {"Files", "Hives", "UtilityVM/Files/Windows/System32/drivers", *(f"Files/{name}" for name in _SYSTEM)}
    for _ in range(shape.files * 19 // 100):
        component = "-".join(chance.choices(_STEMS, k=chance.randint(1, 4)))
        paths.add(
            f"Files/Windows/WinSxS/amd64_microsoft-windows-{component}_31bf3856ad364e35_10.0.20348."
            f"{chance.randint(1, 2999)}_none_{chance.getrandbits(64):016x}"
        )
    whole: dict[str, None] = {}
    for path in sorted(paths):
        parts = path.split("/")
        whole.update(dict.fromkeys("/".join(parts[:depth]) for depth in range(1, len(parts) + 1)))
    return [Node(path, "folder", number) for number, path in enumerate(whole)]


def _files(shape: Shape, chance: random.Random, stores: list[str]) -> list[Node]:
    system = [f"Files/{name}" for name in _SYSTEM]
    links = shape.files // 5
    reparse = max(2, shape.files // 500)
    sizes = _sizes(max(8, shape.files - links - reparse), shape, chance)
    found: list[Node] = []
    for number, size in enumerate(sizes):
        stem = f"{chance.choice(_STEMS)}{chance.choice(_STEMS)}_{number:x}"
        in_store = bool(stores) and chance.random() < 0.55
        folder = chance.choice(stores) if in_store else chance.choices(system, _OFTEN)[0]
        program = size > 1 << 20 or not (folder.endswith(_TEXT) or number % 10 == 0)
        if number % 97 == 0:
            stem += "_ünï файл"
        name = f"{folder}/{stem}.{'dll' if program else 'manifest'}"
        if number < len(_HIVES):
            name = f"Hives/{_HIVES[number]}"
        found.append(Node(name, "file", number, size, program))
        if number % 500 == 499:
            found.append(Node(f"{folder}/gone_{number:x}.dll", "deletion", number))
    owners = [node for node in found if node.kind == "file" and not node.path.startswith("Hives/")]
    for number in range(links):
        owner = chance.choice(owners)
        folder = chance.choices(system, _OFTEN)[0]
        found.append(Node(f"{folder}/{chance.choice(_STEMS)}-{number:x}.dll", "link", owner.number))
    for number in range(reparse):
        target = f"../../Windows/t{number}" if number % 2 else f"C:/ProgramData/Microsoft/t{number}"
        found.append(Node(f"Files/Users/Public/Documents/link-{number:x}", "reparse", number, target=target))
    return found


def _sizes(count: int, shape: Shape, chance: random.Random) -> list[int]:
    """Sizes that add up to about the size of the layer; none is more than a twelfth of it, or 64 MiB."""
    weights = [chance.lognormvariate(0, shape.spread) for _ in range(count)]
    most = max(1 << 16, min(64 << 20, shape.size // 12))
    values = weights
    for _ in range(6):  # what the largest ones lose goes to the others
        scale = shape.size / sum(values)
        values = [min(value * scale, most) for value in values]
    return [int(value) for value in values]
