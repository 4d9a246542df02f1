"""Choosing one image out of an index: by numbers, with the reason told, and never silently something else.

Attestations, artifacts and ``unknown/unknown`` entries are no images and are passed over; nested indexes are opened; an
entry that does not say its platform is asked through its configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wclayer.errors import LimitError, NotFoundError
from wclayer.oci.descriptors import Descriptor, Index, Platform
from wclayer.oci.digests import Digest
from wclayer.oci.platforms import PlatformSpec, format_platform, host_accepts, normalize, version_numbers

__all__ = ["Candidate", "Selection", "list_candidates", "select"]

_ENTRIES = 10_000
_DEPTH = 8
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest that may be chosen; ``platform`` is None when nothing is known of it."""

    descriptor: Descriptor
    platform: Platform | None

    def __str__(self) -> str:
        return format_platform(self.platform) if self.platform else f"unknown platform ({self.descriptor.digest})"


@dataclass(frozen=True, slots=True)
class Selection:
    """The manifest that was chosen, and what there is to say about the choice."""

    chosen: Candidate
    notes: tuple[str, ...] = ()


def list_candidates(
    entries: Sequence[Descriptor],
    *,
    read_index: Callable[[Descriptor], Index],
    read_platform: Callable[[Descriptor], Platform | None],
) -> list[Candidate]:
    """Every image that ``entries`` (of an index) lead to, in their order.

    ``read_index`` opens a nested index. ``read_platform`` looks into the configuration of an entry that does not say
    its platform, and returns None when that is no image. Raises LimitError for an index without end.
    """
    found: list[Candidate] = []
    seen: set[Digest] = set()
    visited = 0

    def visit(entries: Sequence[Descriptor], depth: int) -> None:
        nonlocal visited
        if depth > _DEPTH:
            raise LimitError(f"indexes are nested deeper than {_DEPTH} levels")
        for entry in entries:
            visited += 1
            if visited > _ENTRIES:
                raise LimitError(f"an index with more than {_ENTRIES} entries")
            role = entry.type.role
            if role == "index":
                if entry.digest not in seen:
                    seen.add(entry.digest)
                    visit(read_index(entry).manifests, depth + 1)
            elif role == "manifest" and not _is_no_image(entry):
                platform = entry.platform
                if platform is None or not platform.os:
                    platform = read_platform(entry)
                    if platform is None:
                        continue
                found.append(Candidate(entry, platform))

    visit(entries, 0)
    return found


def _is_no_image(entry: Descriptor) -> bool:
    platform = entry.platform
    unknown = platform is not None and (platform.os, platform.architecture) == ("unknown", "unknown")
    return unknown or bool(entry.artifact_type) or _ATTESTATION in entry.annotations


def select(candidates: Sequence[Candidate], wanted: PlatformSpec, *, hyperv: bool = False) -> Selection:
    """The best of ``candidates`` for ``wanted``.

    For Windows: of the images the wanted host version accepts, the one of exactly that version, else the highest build
    and then the highest revision, else the first in the index. Raises NotFoundError that lists what there is.
    """
    matching = [candidate for candidate in candidates if _matches(candidate.platform, wanted, hyperv=hyperv)]
    if not matching:
        raise NotFoundError(
            f"no image for the platform {wanted}: {_listing(candidates)}",
            hint="choose one with --platform" if candidates else None,
        )
    chosen = max(matching, key=lambda candidate: _rank(candidate.platform, wanted))  # max keeps the first of equals
    return Selection(chosen, tuple(_notes(chosen, matching, wanted)))


def _matches(platform: Platform | None, wanted: PlatformSpec, *, hyperv: bool) -> bool:
    if platform is None:
        return False
    offered = normalize(platform)
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return False
    if wanted.variant and offered.variant != wanted.variant:
        return False
    if not set(offered.os_features) - {"win32k"} <= set(wanted.os_features):
        return False
    if not wanted.os_version or not offered.os_version:
        return True
    if wanted.os != "windows":
        return wanted.os_version == offered.os_version
    numbers = version_numbers(wanted.os_version)
    if len(numbers) < 3:
        return version_numbers(offered.os_version)[: len(numbers)] == numbers
    return host_accepts(wanted.os_version, offered.os_version, hyperv=hyperv)


def _rank(platform: Platform | None, wanted: PlatformSpec) -> tuple[bool, tuple[int, ...], bool]:
    version = platform.os_version if platform else ""
    exact = bool(version) and version == wanted.os_version
    return exact, version_numbers(version), platform is not None and not platform.variant


def _notes(chosen: Candidate, matching: Sequence[Candidate], wanted: PlatformSpec) -> list[str]:
    notes = []
    version = chosen.platform.os_version if chosen.platform else ""
    asked = version_numbers(wanted.os_version)
    if wanted.os == "windows" and len(asked) >= 3:
        if not version:
            notes.append(f"{chosen} does not say its version: taken for {wanted}")
        elif version_numbers(version)[:3] != asked[:3]:
            notes.append(f"no image of build {asked[2]}: {chosen} runs there too")
    if len(matching) > 1:
        others = sorted({str(other) for other in matching if other is not chosen})
        notes.append(f"chose {chosen} ({chosen.descriptor.digest}) over {', '.join(others)}")
    return notes


def _listing(candidates: Sequence[Candidate]) -> str:
    def key(candidate: Candidate) -> tuple[str, str, tuple[int, ...]]:
        platform = candidate.platform or Platform("", "")
        return platform.os, platform.architecture, version_numbers(platform.os_version)

    names = dict.fromkeys(str(candidate) for candidate in sorted(candidates, key=key))
    return f"there are {', '.join(names)}" if names else "there is no image at all"
