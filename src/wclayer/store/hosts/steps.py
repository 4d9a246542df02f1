"""Steps of a plan, put into an order that works: stop the service, make room, bring back, fetch, start it again.

A step is made once, however many findings it answers. Its commands are PowerShell for the host; every path in them is
quoted so that nothing in it is taken for anything but a path.
"""

from __future__ import annotations

import re
from dataclasses import replace

from wclayer.store.hosts.files import joined
from wclayer.store.hosts.records import Step, StepKind

__all__ = ["Steps", "argument", "quoted"]

# PowerShell takes the typographic ones for the plain one.
_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")
_ORDER: tuple[StepKind, ...] = ("move-aside", "move-back", "write-chain", "drop-record", "pull", "import-layer", "look")
_ONLINE: tuple[StepKind, ...] = ("drop-record", "pull", "look")
"""What the service itself does, so that it has to run."""


class Steps:
    """Collects steps for a store at ``base``; what is moved aside goes to the folder ``aside``.

    Steps of one kind stay in the order in which they were added.
    """

    def __init__(self, base: str, aside: str) -> None:
        self._base = base
        self._aside = aside
        self._steps: dict[tuple[str, str, str], Step] = {}

    def add(self, step: Step) -> None:
        """Add ``step``; the same one again only adds the findings that it answers."""
        key = (step.kind, step.target, step.to or "")
        known = self._steps.get(key)
        if known is not None:
            step = replace(known, findings=tuple(dict.fromkeys((*known.findings, *step.findings))))
        self._steps[key] = step

    def aside(self, path: str, why: str, *findings: str) -> None:
        """Move ``path`` out of the way, to where it can be moved back from."""
        to = joined(self._aside, self._below(path).replace("/", "_"))
        commands = (
            f"New-Item -ItemType Directory -Force {self.path(self._aside)} | Out-Null",
            f"Move-Item -LiteralPath {self.path(path)} -Destination {self.path(to)}",
        )
        self.add(Step("move-aside", path, why, to, commands=commands, findings=findings))

    def move(self, path: str, to: str, why: str, *findings: str) -> None:
        """Move ``path`` back to where it was."""
        command = f"Move-Item -LiteralPath {self.path(path)} -Destination {self.path(to)}"
        self.add(Step("move-back", path, why, to, commands=(command,), findings=findings))

    def write(self, path: str, content: str, why: str, *findings: str) -> None:
        """Write ``content`` to the file ``path``, and keep what was there beside it."""
        text = content.replace("'", "''")
        commands = (
            f"if (Test-Path -LiteralPath {self.path(path)}) "
            f"{{ Copy-Item -LiteralPath {self.path(path)} -Destination {self.path(path + '.old')} }}",
            f"[IO.File]::WriteAllText({self.path(path)}, '{text}')",
        )
        self.add(Step("write-chain", path, why, content=content, commands=commands, findings=findings))

    def pull(self, name: str, digest: str | None, why: str, *findings: str, run: bool = True) -> None:
        """Fetch an image, or the blob ``digest`` of a repository, again."""
        commands = (f"docker pull {argument(name)}",) if run else ()
        self.add(Step("pull", name, why, digest, commands=commands, findings=findings))

    def look(self, target: str, why: str, *findings: str) -> None:
        """Something that a person must decide."""
        self.add(Step("look", target, why, findings=findings))

    def ordered(self, service: str) -> list[Step]:
        """All steps in their order; ``service`` is stopped for those that touch its files."""
        steps = sorted(self._steps.values(), key=lambda step: _ORDER.index(step.kind))
        offline = [step for step in steps if step.kind not in _ONLINE]
        online = [step for step in steps if step.kind in _ONLINE]
        # Blobs are fetched before they are imported, which is while the service is stopped.
        first = [step for step in online if step.kind == "pull" and not step.commands]
        rest = [step for step in online if step not in first]
        if offline:
            stop = Step("stop-service", service, "its files are moved below", commands=(f"Stop-Service {service}",))
            start = Step("start-service", service, "its files are in place", commands=(f"Start-Service {service}",))
            offline = [stop, *offline, start]
        return [*first, *offline, *rest]

    def path(self, path: str) -> str:
        """``path`` on the host, for a command."""
        return quoted("$root\\" + self._below(path).replace("/", "\\"))

    def _below(self, path: str) -> str:
        return path.removeprefix(f"{self._base}/") if self._base else path


def quoted(text: str) -> str:
    """``text`` as one argument of PowerShell. A leading ``$root`` stays a variable, everything else is itself."""
    if text.startswith("$root\\"):
        return f"($root + {quoted(text.removeprefix('$root'))})"
    return "'" + _QUOTES.sub(r"\g<0>\g<0>", text) + "'"


def argument(name: str) -> str:
    """``name`` as an argument that is no option, whatever it begins with."""
    return f"-- {quoted(name)}" if name.startswith("-") else quoted(name)
