"""Whether an image would run on a Windows host, why or why not, and what would run instead.

The answer is that of the rules in :mod:`wclayer.oci.compatibility`, for each image of an index; which of several is
taken is decided as everywhere (:mod:`wclayer.oci.selection`). Where none runs, the other names in the same place are
asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wclayer.errors import NotFoundError, UsageError, WclayerError
from wclayer.image.documents import open_named
from wclayer.oci.compatibility import Verdict, judge
from wclayer.oci.descriptors import Platform
from wclayer.oci.digests import Digest
from wclayer.oci.named import Documents, NamedDocuments
from wclayer.oci.platforms import (
    RELEASES,
    PlatformSpec,
    format_platform,
    host_accepts,
    parse_platform,
    version_numbers,
    version_triple,
)
from wclayer.oci.selection import Candidate, select

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = [
    "HOSTS",
    "Alternative",
    "Compatibility",
    "HostAnswer",
    "Isolation",
    "JudgedEntry",
    "compatibility",
    "hosts_of",
]

Isolation = Literal["process", "hyperv"]

HOSTS: dict[int, str] = {
    14393: "Windows Server 2016",
    16299: "Windows Server 1709",
    17134: "Windows Server 1803",
    17763: "Windows Server 2019",
    18362: "Windows Server 1903",
    18363: "Windows Server 1909",
    19041: "Windows Server 2004",
    19042: "Windows Server 20H2",
    20348: "Windows Server 2022",
    22621: "Windows 11 22H2",
    25398: "Windows Server 23H2",
    26100: "Windows Server 2025",
    26200: "Windows 11 25H2",
}
"""Builds of Windows that containers are run on, and what they are called."""

_ASKED = 8  # other tags whose documents are read
_TOLD = 3
_WORDS = re.compile(r"[-_]", re.ASCII)
_VERSION = re.compile(r"10\.0\.[0-9]{5}(?:\.[0-9]+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class JudgedEntry:
    """An image of the reference; ``platform`` in containerd's spelling."""

    digest: Digest
    platform: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another name in the same place, and the image there that would run."""

    reference: str
    digest: Digest
    platform: str


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The answer for one host. ``chosen`` is the image that would be taken, None when none runs."""

    reference: str
    host: PlatformSpec
    isolation: Isolation
    entries: tuple[JudgedEntry, ...]
    chosen: JudgedEntry | None
    runs_with_hyperv: bool
    alternatives: tuple[Alternative, ...]
    notes: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether there is an image that would run."""
        return self.chosen is not None


@dataclass(frozen=True, slots=True)
class HostAnswer:
    """What one host would take: canonical platforms, None where nothing runs."""

    build: int
    name: str
    process: str | None
    hyperv: str | None


def parse_host(text: str) -> PlatformSpec:
    """A Windows host: a version, a build, the name of a release, or a platform with a version; UsageError."""
    host = parse_platform(text)
    if host.os != "windows" or len(version_numbers(host.os_version)) < 3:
        raise UsageError(
            f"{text!r} does not say which Windows the host runs",
            hint="give a version such as 10.0.20348.2113, a build such as 20348, or a release such as ltsc2022",
        )
    return host


def compatibility(
    target: str, host: str, *, isolation: Isolation = "process", network: Network | None = None
) -> Compatibility:
    """Whether the image, or an image of the index, that ``target`` names would run on ``host``.

    Raises NotFoundError when there is no image at all, UsageError for a host that is none, and what opening raises.
    """
    spec = parse_host(host)
    hyperv = isolation == "hyperv"
    with open_named(target, network) as named:
        candidates = _candidates(named)
        chosen = _choose(candidates, spec, hyperv)
        entries = tuple(_judged(one, spec, hyperv) for one in candidates)
        alternatives: list[Alternative] = []
        notes: list[str] = []
        if chosen is None:
            _find_alternatives(named, spec, hyperv, alternatives, notes)
        return Compatibility(
            str(named.reference),
            spec,
            isolation,
            entries,
            _judged(chosen, spec, hyperv) if chosen else None,
            chosen is not None or _choose(candidates, spec, True) is not None,
            tuple(alternatives),
            tuple(notes),
        )


def hosts_of(target: str, *, network: Network | None = None) -> list[HostAnswer]:
    """Which image of ``target`` each Windows of :data:`HOSTS` would take, on amd64 or else the images' architecture."""
    with open_named(target, network) as named:
        candidates = _candidates(named)
    architectures = dict.fromkeys(one.platform.architecture for one in candidates if one.platform)
    architecture = "amd64" if "amd64" in architectures else next(iter(architectures))
    answers = []
    for build, name in HOSTS.items():
        spec = parse_platform(f"windows({build})/{architecture}")
        process, hyperv = (_choose(candidates, spec, isolated) for isolated in (False, True))
        answers.append(HostAnswer(build, name, str(process) if process else None, str(hyperv) if hyperv else None))
    return answers


def _candidates(named: NamedDocuments) -> list[Candidate]:
    found = named.candidates()
    if not found:
        raise NotFoundError("there is no image at all")
    return found


def _choose(candidates: Sequence[Candidate], spec: PlatformSpec, hyperv: bool) -> Candidate | None:
    try:
        return select(candidates, spec, hyperv=hyperv).chosen
    except NotFoundError:
        return None


def _judged(candidate: Candidate, spec: PlatformSpec, hyperv: bool) -> JudgedEntry:
    platform = candidate.platform or Platform("", "")
    verdicts = [judge(said, spec, hyperv=hyperv) for said in (platform, *candidate.within)]
    verdict = next((one for one in verdicts if not one.runs), verdicts[0])
    return JudgedEntry(candidate.descriptor.digest, format_platform(platform), verdict)


def _find_alternatives(
    named: NamedDocuments, spec: PlatformSpec, hyperv: bool, found: list[Alternative], notes: list[str]
) -> None:
    """Other names in the same place with an image that would run; those first whose name says so.

    They are advice: what cannot be looked at is told, and changes nothing of the answer.
    """
    asked = {root.digest for root in named.roots}
    try:
        names = _promising(named.place.names(), named.reference.tag, spec, hyperv)
    except WclayerError as error:
        notes.append(f"other tags could not be looked at: {error.message}")
        return
    for name in names[:_ASKED]:
        reference = named.reference.renamed(name)
        try:
            roots = named.place.roots(reference)
            if not asked.isdisjoint(root.digest for root in roots):
                continue
            chosen = _choose(Documents(named.place, roots).candidates(), spec, hyperv)
        except WclayerError as error:
            notes.append(f"{reference} could not be looked at: {error.message}")
            continue
        if chosen is not None:
            found.append(Alternative(str(reference), chosen.descriptor.digest, str(chosen)))
        if len(found) == _TOLD:
            return


def _promising(names: Iterable[str], own: str, spec: PlatformSpec, hyperv: bool) -> list[str]:
    """Names that do not speak of a Windows that the host refuses: the most similar to ``own`` and the newest first."""
    rest, _ = _speaks_of(own)
    ranked = []
    for name in names:
        words, version = _speaks_of(name)
        if name == own or (version and not host_accepts(spec.os_version, version, hyperv=hyperv)):
            continue
        ranked.append((words != rest, not version, [-number for number in version_numbers(version)], name))
    return [name for *_, name in sorted(ranked)]


def _speaks_of(name: str) -> tuple[tuple[str, ...], str]:
    """The words of a tag without the version of Windows in it, and that version, empty when there is none."""
    words, found = [], ""
    for word in _WORDS.split(name.lower()):
        version = word if _VERSION.fullmatch(word) else f"10.0.{RELEASES[word]}" if word in RELEASES else ""
        if version and version_triple(version) and not found:
            found = version
        else:
            words.append(word)
    return tuple(words), found
