"""Choosing one image out of an index: by numbers, with the reason told, and never silently something else.

Attestations, artifacts and ``unknown/unknown`` entries are no images and are passed over; nested indexes are opened; an
entry that does not say its platform is asked through its configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wclayer.errors import LimitError, NotFoundError
from wclayer.oci.compatibility import architecture_order, judge
from wclayer.oci.descriptors import Descriptor, Index, Platform
from wclayer.oci.digests import Digest
from wclayer.oci.platforms import PlatformSpec, format_platform, normalize, version_numbers

__all__ = ["Candidate", "Selection", "is_no_image", "list_candidates", "select"]

_ENTRIES = 10_000
_DEPTH = 8
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest that may be chosen; ``platform`` is None when nothing is known of it.

    ``within`` is what the entries of the indexes around it say of their platform, where they do.
    """

    descriptor: Descriptor
    platform: Platform | None
    within: tuple[Platform, ...] = ()

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

    def visit(entries: Sequence[Descriptor], depth: int, within: tuple[Platform, ...]) -> None:
        nonlocal visited
        if depth > _DEPTH:
            raise LimitError(f"indexes are nested deeper than {_DEPTH} levels")
        for entry in entries:
            visited += 1
            if visited > _ENTRIES:
                raise LimitError(f"an index with more than {_ENTRIES} entries")
            role = entry.type.role
            if role == "index" and not is_no_image(entry):
                if entry.digest not in seen:
                    seen.add(entry.digest)
                    said = (*within, entry.platform) if entry.platform and entry.platform.os else within
                    visit(read_index(entry).manifests, depth + 1, said)
            elif role in ("manifest", "config") and not is_no_image(entry):
                platform = entry.platform
                if platform is None or not platform.os:
                    platform = read_platform(entry)
                    if platform is None:
                        continue
                found.append(Candidate(entry, platform, within))

    visit(entries, 0, ())
    return found


def is_no_image(entry: Descriptor) -> bool:
    """Whether an entry of an index is an attestation or another artifact, which nobody runs."""
    platform = entry.platform
    unknown = platform is not None and (platform.os, platform.architecture) == ("unknown", "unknown")
    return unknown or bool(entry.artifact_type) or _ATTESTATION in entry.annotations


def select(candidates: Sequence[Candidate], wanted: PlatformSpec, *, hyperv: bool = False) -> Selection:
    """The best of ``candidates`` for ``wanted``.

    For Windows: of the images the wanted host version accepts, the one of exactly that version, else the highest build
    and then the highest revision, else the first in the index. An image of the architecture itself comes before one of
    an older variant. Raises NotFoundError that lists what there is.
    """
    matching = [candidate for candidate in candidates if _matches(candidate, wanted, hyperv=hyperv)]
    if not matching:
        raise NotFoundError(
            f"no image for the platform {wanted}: {_listing(candidates)}",
            hint="choose one with --platform" if candidates else None,
        )
    chosen = max(matching, key=lambda candidate: _rank(candidate, wanted))  # max keeps the first of equals
    return Selection(chosen, tuple(_notes(chosen, matching, wanted)))


def _matches(candidate: Candidate, wanted: PlatformSpec, *, hyperv: bool) -> bool:
    if candidate.platform is None:
        return False
    return all(judge(said, wanted, hyperv=hyperv).runs for said in (candidate.platform, *candidate.within))


def _rank(candidate: Candidate, wanted: PlatformSpec) -> tuple[int, bool, tuple[int, ...]]:
    platform = normalize(candidate.platform) if candidate.platform else Platform("", "")
    order = architecture_order(wanted).index((platform.architecture, platform.variant))
    exact = bool(platform.os_version) and platform.os_version == wanted.os_version
    return -order, exact, version_numbers(platform.os_version)


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
