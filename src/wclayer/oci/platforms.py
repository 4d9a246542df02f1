"""Platforms as people write them, and which Windows image runs on which Windows host.

Every spelling in use is read: ``windows/amd64``, crane's and ORAS' ``windows/amd64:10.0.20348.1``, regctl's
``windows/amd64,osver=10.0.20348``, containerd's ``windows(10.0.20348+win32k)/amd64``, and the names of Windows releases
(``ltsc2022``). One is printed: containerd's. The rule for versions is that of hcsshim's osversion package and of
containerd/platforms; versions are compared as numbers throughout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from wclayer.errors import UsageError
from wclayer.oci.descriptors import Platform

__all__ = [
    "DEFAULT_PLATFORM",
    "RELEASES",
    "PlatformSpec",
    "format_platform",
    "host_accepts",
    "lowest_build",
    "normalize",
    "parse_platform",
    "version_numbers",
    "version_triple",
]

RELEASES = {
    "ltsc2016": 14393,
    "1709": 16299,
    "1803": 17134,
    "ltsc2019": 17763,
    "1809": 17763,
    "1903": 18362,
    "1909": 18363,
    "2004": 19041,
    "20h2": 19042,
    "ltsc2022": 20348,
    "23h2": 25398,
    "ltsc2025": 26100,
}
"""Names of Windows releases, in lower case, and their builds."""

_LTSC = (20348, 26100)
"""The builds from which on a host also runs older images, as far down as the nearest of these below it."""

_KNOWN_OS = {"aix", "android", "darwin", "dragonfly", "freebsd", "illumos", "ios", "js", "linux", "netbsd", "openbsd"}
_KNOWN_OS |= {"plan9", "solaris", "wasip1", "windows", "zos"}
_KNOWN_ARCHITECTURES = {"386", "amd64", "arm", "arm64", "loong64", "mips", "mipsle", "mips64", "mips64le", "ppc64"}
_KNOWN_ARCHITECTURES |= {"ppc64le", "riscv64", "s390x", "wasm"}
_ARCHITECTURES = {
    "i386": "386",
    "i686": "386",
    "x86_64": "amd64",
    "x86-64": "amd64",
    "x64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_VARIANTS = {
    "amd64": {"v1": ""},
    "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"},
    "arm": {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"},
}
"""How variants are called otherwise; the one that is meant anyway has no name."""

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_OS = re.compile(r"(?P<os>[A-Za-z0-9_-]+)(?:\((?P<version>[^()+/]*)(?P<features>(?:\+[^()+/]+)*)\))?", re.ASCII)
_BARE_VERSION = re.compile(r"[0-9]{5}|[0-9]{1,3}(?:\.[0-9]{1,10}){1,3}", re.ASCII)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_RESERVED = str.maketrans({c: f"%{ord(c):02X}" for c in "%+()/"})
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)


@dataclass(frozen=True, slots=True)
class PlatformSpec:
    """The platform that is wanted, in normal form.

    For Windows ``os_version`` is the version of the host the image has to run on: empty for any, or two to four
    numbers with dots. ``os_features`` are what the host offers, sorted. ``str()`` gives the canonical spelling.
    """

    os: str = "windows"
    architecture: str = "amd64"
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def __str__(self) -> str:
        return format_platform(Platform(self.os, self.architecture, self.variant, self.os_version, self.os_features))


DEFAULT_PLATFORM = PlatformSpec()
"""``windows/amd64`` of any version: never the platform of the machine this runs on."""


def format_platform(platform: Platform) -> str:
    """The canonical spelling, ``windows(10.0.20348.2700+win32k)/amd64``; ``unknown`` for a platform without an OS."""
    if not platform.os:
        return "unknown"
    options = platform.os_version.translate(_RESERVED)
    options += "".join(f"+{feature.translate(_RESERVED)}" for feature in sorted(platform.os_features))
    parts = (f"{platform.os}({options})" if options else platform.os, platform.architecture, platform.variant)
    return "/".join(part for part in parts if part)


def normalize(platform: Platform) -> Platform:
    """The same platform with the names Go gives things: ``x86_64`` is ``amd64``, ``arm64/v8`` is ``arm64``."""
    os = platform.os.lower()
    architecture, variant = _architecture(platform.architecture, platform.variant)
    return Platform(
        "darwin" if os == "macos" else os,
        architecture,
        variant,
        platform.os_version,
        tuple(sorted(set(platform.os_features))),
    )


def _architecture(architecture: str, variant: str) -> tuple[str, str]:
    given = architecture.lower()
    variant = variant.lower()
    name = _ARCHITECTURES.get(given, given)
    if given in ("armhf", "armel"):
        variant = "v7" if given == "armhf" else "v6"
    elif given in ("i386", "i686"):
        variant = ""
    return name, _VARIANTS.get(name, {}).get(variant, variant)


def parse_platform(text: str) -> PlatformSpec:
    """The platform that ``text`` spells, in any of the spellings above; UsageError for anything else.

    What is not said is not taken from this machine: the default is Windows on amd64. A version of Windows may be a
    quad, the first two or three numbers of one, a build number alone, or the name of a release; it may stand alone.
    """
    body, *options = text.strip().split(",")
    if not options and (body.lower() in RELEASES or _BARE_VERSION.fullmatch(body)):
        return PlatformSpec(os_version=_windows_version(body, text))
    versions = [_option(option, text) for option in options]
    body, colon, version = body.partition(":")
    if colon:
        versions.append(version)
    first, *rest = body.split("/")
    match = _OS.fullmatch(first)
    if match is None or len(rest) > 2 or not all(_COMPONENT.fullmatch(part) for part in rest):
        raise _error(text)
    os, inner, features = match["os"].lower(), match["version"], match["features"]
    if inner:
        versions.append(_unescape(inner, text))
    if not rest:
        if os in _KNOWN_OS or os == "macos":
            rest = ["amd64"]
        elif _architecture(os, "")[0] in _KNOWN_ARCHITECTURES and inner is None:
            rest, os = [os], "windows"
        else:
            raise _error(text)
    if len(versions) > 1 or "" in versions:
        raise UsageError(f"platform {text!r}: the version of the operating system must be given once, or not at all")
    platform = normalize(
        Platform(
            os,
            rest[0],
            rest[1] if len(rest) > 1 else "",
            versions[0] if versions else "",
            tuple(_unescape(feature, text) for feature in features.split("+")[1:]) if features else (),
        )
    )
    os_version = platform.os_version
    if platform.os == "windows" and os_version:
        os_version = _windows_version(os_version, text)
    return PlatformSpec(platform.os, platform.architecture, platform.variant, os_version, platform.os_features)


def _error(text: str) -> UsageError:
    return UsageError(
        f"not a platform: {text!r}",
        hint="write it as windows/amd64, windows/amd64:10.0.20348, windows(10.0.20348)/amd64 or ltsc2022",
    )


def _option(option: str, text: str) -> str:
    key, _, value = option.partition("=")
    if key.strip().lower() not in ("osver", "osversion"):
        raise UsageError(f"platform {text!r}: unknown option {key!r}", hint="the one that is known is osver=")
    return value.strip()


def _unescape(value: str, text: str) -> str:
    if _ESCAPE.search(value):
        raise _error(text)
    try:
        plain = unquote_to_bytes(value).decode("utf-8")
    except UnicodeError:
        raise _error(text) from None
    if not plain.isprintable():
        raise _error(text)
    return plain


def _windows_version(version: str, text: str) -> str:
    build = RELEASES.get(version.lower())
    if build is not None:
        return f"10.0.{build}"
    numbers = version.split(".")
    if len(numbers) > 4 or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise UsageError(
            f"platform {text!r}: {version!r} is no version of Windows",
            hint="give a quad such as 10.0.20348.2700, a build such as 20348, or a release such as ltsc2022",
        )
    plain = [str(int(number)) for number in numbers]
    known = f"10.0.{plain[0]}" if len(plain) == 1 else ".".join(plain)
    if len(plain) != 2 and version_triple(known) is None:
        raise UsageError(f"platform {text!r}: there is no Windows {version}, for a build is at most 65535")
    return known


def version_numbers(version: str) -> tuple[int, ...]:
    """``version`` as numbers, to sort by; empty when it is no sequence of numbers with dots."""
    numbers = version.split(".")
    return tuple(int(number) for number in numbers) if all(_NUMBER.fullmatch(n) for n in numbers) else ()


def version_triple(version: str) -> tuple[int, int, int] | None:
    """Major, minor and build, as containerd parses them: in 8, 8 and 16 bits. Whatever follows does not matter."""
    parts = version.split(".")
    if len(parts) < 3 or not all(_NUMBER.fullmatch(part) for part in parts[:3]):
        return None
    major, minor, build = (int(part) for part in parts[:3])
    return (major, minor, build) if major < 256 and minor < 256 and build < 65536 else None


def host_accepts(host: str, image: str, *, hyperv: bool = False) -> bool:
    """Whether a Windows host of version ``host`` runs an image of version ``image`` (both ``major.minor.build[.rev]``).

    The revision never matters. Nothing said matches everything; so does a host version that cannot be read, while an
    image version that cannot be read matches no version. With process isolation a host before build 20348 runs its own
    build only, a later one also older images down to the nearest long-term release below it. With ``hyperv`` isolation
    any build up to the host's will do.
    """
    wanted = version_triple(host)
    if wanted is None or wanted == (0, 0, 0) or not image:
        return True
    offered = version_triple(image) or (0, 0, 0)
    if wanted[:2] != offered[:2]:
        return False
    return (0 if hyperv else lowest_build(wanted[2])) <= offered[2] <= wanted[2]


def lowest_build(host: int) -> int:
    """The oldest build whose images a host of build ``host`` runs with process isolation."""
    if host < _LTSC[0]:
        return host
    return max((build for build in _LTSC if build < host), default=_LTSC[0])
