"""Whether an image runs on a host, and why: the rule of containerd and hcsshim, with the reason in words.

The matching is that of ``platforms.Only`` of containerd/platforms: same operating system, same architecture or an older
variant of it, no feature that the host lacks, and for Windows the versions as
:func:`wclayer.oci.platforms.host_accepts` compares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wclayer.oci.descriptors import Platform
from wclayer.oci.platforms import PlatformSpec, host_accepts, lowest_build, normalize, version_numbers, version_triple

__all__ = ["Cause", "Verdict", "architecture_order", "judge"]

Cause = Literal[
    "any-version",
    "no-image-version",
    "same-build",
    "older-build",
    "hyperv",
    "os",
    "architecture",
    "features",
    "unreadable-version",
    "other-windows",
    "newer-build",
    "own-build-only",
    "too-old",
]

_ARM64 = {"v8": ((8, 0),), "v9": ((9, 0), (8, 5))}
_NEWEST_ARM64 = {8: 9, 9: 7}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``runs`` or not; ``cause`` is a short stable word, ``reason`` a sentence without a full stop."""

    runs: bool
    cause: Cause
    reason: str


def judge(offered: Platform, wanted: PlatformSpec, *, hyperv: bool = False) -> Verdict:
    """Whether an image for ``offered`` runs where ``wanted`` is what there is.

    ``wanted.os_version`` is the host's version: empty for any, and with two numbers any of that Windows.
    """
    image = normalize(offered)
    if image.os != wanted.os:
        return Verdict(False, "os", f"it is for {image.os or 'no system that it names'}, not for {wanted.os}")
    if (image.architecture, image.variant) not in architecture_order(wanted):
        have = "/".join(part for part in (image.architecture, image.variant) if part)
        want = "/".join(part for part in (wanted.architecture, wanted.variant) if part)
        return Verdict(False, "architecture", f"it is for {have or 'no architecture that it names'}, not for {want}")
    free = {"win32k"} if image.os == "windows" else set()  # containerd takes it out before it compares
    lacking = sorted(set(image.os_features) - set(wanted.os_features) - free)
    if lacking:
        return Verdict(False, "features", f"it needs {', '.join(lacking)}, which the host does not say it has")
    return _judge_version(image.os_version, wanted, hyperv)


def _judge_version(version: str, wanted: PlatformSpec, hyperv: bool) -> Verdict:
    host = wanted.os_version
    if not host:
        return Verdict(True, "any-version", "any version is asked for")
    if not version:
        return Verdict(True, "no-image-version", "it does not say its version, so it is taken for any host")
    if wanted.os != "windows":
        same = version == host
        return Verdict(same, "same-build" if same else "other-windows", f"its version is {version}, asked for {host}")
    asked = version_numbers(host)
    if len(asked) < 3:
        same = version_numbers(version)[: len(asked)] == asked
        return Verdict(same, "any-version" if same else "other-windows", f"its version is {version}, asked for {host}")
    return _judge_windows(version, host, hyperv)


def _judge_windows(version: str, host: str, hyperv: bool) -> Verdict:
    runs = host_accepts(host, version, hyperv=hyperv)
    here, there = version_triple(version), version_triple(host)
    if there is None:
        return Verdict(runs, "any-version", f"the version {host} of the host cannot be read, so any image will do")
    if here is None:
        return Verdict(runs, "unreadable-version", f"its version {version!r} cannot be read, so it matches no host")
    if here[:2] != there[:2]:
        return Verdict(
            runs, "other-windows", f"it is for Windows {here[0]}.{here[1]}, the host is {there[0]}.{there[1]}"
        )
    image_build, host_build = here[2], there[2]
    if image_build == host_build:
        return Verdict(runs, "same-build", f"image and host are of build {host_build}; revisions do not matter")
    if image_build > host_build:
        text = f"its build {image_build} is newer than the host's {host_build}, and no isolation helps with that"
        return Verdict(runs, "newer-build", text)
    if hyperv:
        text = f"with Hyper-V isolation a host of build {host_build} runs images of any older build, here {image_build}"
        return Verdict(runs, "hyperv", text)
    lowest = lowest_build(host_build)
    if lowest == host_build:
        text = f"with process isolation a host of build {host_build} runs its own build only, and this is {image_build}"
        return Verdict(runs, "own-build-only", f"{text}; Hyper-V isolation would run it")
    span = f"with process isolation a host of build {host_build} runs builds {lowest} to {host_build}"
    if runs:
        return Verdict(runs, "older-build", f"{span}, and this is {image_build}")
    return Verdict(runs, "too-old", f"{span}, and this is {image_build}; Hyper-V isolation would run it")


def architecture_order(wanted: PlatformSpec) -> tuple[tuple[str, str], ...]:
    """The architectures and variants that run where ``wanted`` is what there is, best first.

    An older variant runs on a newer one, 386 on amd64, and 32-bit ARM on arm64, as ``platforms.Only`` has it.
    """
    architecture, variant = wanted.architecture, wanted.variant
    if architecture == "amd64":
        level = _number(variant)
        older = [(architecture, f"v{number}") for number in range(level - 1, 1, -1)] if level > 1 else []
        return ((architecture, variant), *older, *([(architecture, "")] if level > 1 else []), ("386", ""))
    if architecture == "arm":
        return ((architecture, variant), *((architecture, f"v{n}") for n in range(_number(variant) - 1, 4, -1)))
    if architecture == "arm64":
        return _arm64(variant)
    return ((architecture, variant),)


def _arm64(variant: str) -> tuple[tuple[str, str], ...]:
    name, _, minor = (variant or "v8").partition(".")
    count = int(minor) if minor.isascii() and minor.isdigit() else 0
    if name not in _ARM64 or count > _NEWEST_ARM64[int(name[1])]:
        return (("arm64", variant),)
    order: list[tuple[str, str]] = []
    for major, first in _ARM64[name]:
        top = min(first + count, _NEWEST_ARM64[major])
        order += [("arm64", f"v{major}.{n}" if n else {8: "", 9: "v9"}[major]) for n in range(top, -1, -1)]
    return (*order, *(("arm", f"v{n}") for n in range(8, 4, -1)))


def _number(variant: str) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 3 else 0
