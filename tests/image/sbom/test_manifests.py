"""Manifests of package managers are read as far as they name packages; anything else is an error or nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError
from wclayer.image.sbom.manifests import Package, manifest_reader, read_manifest

NUSPEC = b"""\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://schemas.microsoft.com/packaging/2013/05/nuspec.xsd"><metadata>
<id>Newtonsoft.Json</id><version>13.0.3</version><authors>James</authors><license type="expression">MIT</license>
<dependencies><group><id>Other</id></group></dependencies></metadata></package>"""
CONFIG = b"""<packages><package id="jQuery" version="3.7.0" targetFramework="net48"/><package id="x"/></packages>"""
METADATA = (
    b"Metadata-Version: 2.1\r\nName: Foo_Bar.baz\r\nVersion: 1.0\r\nLicense-Expression: MIT\r\nAuthor: Me\r\n\r\n"
    b"Name: not this\r\n"
)
DEPS = {
    "libraries": {
        "App/1.0.0": {"type": "project"},
        "Serilog/2.12.0": {"type": "package", "sha512": "x"},
        "runtimepack.Microsoft.NETCore.App/8.0.1": {"type": "runtimepack"},
        "no-version": {"type": "package"},
        "odd/1": "text",
    }
}


@pytest.mark.parametrize(
    ("path", "data", "packages"),
    [
        (
            "Files/app/App.deps.json",
            json.dumps(DEPS).encode(),
            [
                Package("nuget", "Serilog", "2.12.0"),
                Package("nuget", "runtimepack.Microsoft.NETCore.App", "8.0.1"),
            ],
        ),
        ("Files/p/Newtonsoft.Json.nuspec", NUSPEC, [Package("nuget", "Newtonsoft.Json", "13.0.3", "MIT", "James")]),
        ("Files/site/Packages.config", CONFIG, [Package("nuget", "jQuery", "3.7.0")]),
        ("Files/p/foo.dist-info/METADATA", METADATA, [Package("pypi", "Foo_Bar.baz", "1.0", "MIT", "Me")]),
        ("Files/p/foo.egg-info/PKG-INFO", METADATA, [Package("pypi", "Foo_Bar.baz", "1.0", "MIT", "Me")]),
        ("Files/p/foo.egg-info", METADATA, [Package("pypi", "Foo_Bar.baz", "1.0", "MIT", "Me")]),
        (
            "Files/a/node_modules/@Scope/Name/package.json",
            b'{"name": "@scope/name", "version": "1.2.3", "license": "ISC"}',
            [Package("npm", "@scope/name", "1.2.3", "ISC")],
        ),
        ("Files/a/node_modules/x/package.json", b'{"type": "module", "name": "x", "version": 3}', []),
        ("Files/a/node_modules/x/test/package.json", b'{"name": "fixture", "version": "1"}', []),
        (
            "Files/a/node_modules/x/node_modules/y/package.json",
            b'{"name": "y", "version": "1"}',
            [Package("npm", "y", "1")],
        ),
        (
            "Files/app/package.json",
            b'{"name": "app", "version": "0.1.0", "private": true}',
            [Package("npm", "app", "0.1.0")],
        ),
        ("Files/readme.json", b"{}", []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_names_its_packages(path: str, data: bytes, packages: list[Package]) -> None:
    assert read_manifest(path, data) == packages


def test_package_urls_follow_the_rules_of_their_types() -> None:
    assert Package("pypi", "Foo_Bar.baz", "1.0+local").purl == "pkg:pypi/foo-bar-baz@1.0%2Blocal"
    assert Package("npm", "@scope/name", "1").purl == "pkg:npm/%40scope/name@1"
    assert Package("nuget", "Newtonsoft.Json", "13.0.3").purl == "pkg:nuget/Newtonsoft.Json@13.0.3"


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><package><metadata><id>&b;</id></metadata>
</package>"""


@pytest.mark.parametrize(
    ("path", "data", "match"),
    [
        ("x.nuspec", BOMB, "document type"),
        ("x.nuspec", b"<a>" * 100, "64 levels"),
        ("x.nuspec", b"<package>", "no XML"),
        ("x.nuspec", b"", "no XML"),
        ("x.deps.json", b"[" * 200_000, "JSON"),
        ("x.deps.json", b"[]", "no object"),
        ("package.json", b"\xff\xfe", "no JSON"),
        ("package.json", b'{"name":' + b"9" * 10_000 + b"}", "no JSON"),
    ],
)
def test_what_is_no_manifest_is_an_error(path: str, data: bytes, match: str) -> None:
    with pytest.raises(FormatError, match=match):
        read_manifest(path, data)


def test_more_packages_than_anybody_has_are_refused() -> None:
    libraries = {f"a{number}/1": {"type": "package"} for number in range(50_001)}
    with pytest.raises(LimitError):
        read_manifest("x.deps.json", json.dumps({"libraries": libraries}).encode())


def test_names_without_end_are_not_names() -> None:
    assert read_manifest("package.json", json.dumps({"name": "a" * 513, "version": "1"}).encode()) == []
    assert read_manifest("package.json", json.dumps({"name": "a\0b", "version": "1"}).encode()) == []


NAMES = ("x.deps.json", "x.nuspec", "packages.config", "package.json", "x.egg-info")


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.one_of(
        st.binary(max_size=300),
        st.sampled_from((NUSPEC, CONFIG, METADATA)).flatmap(
            lambda whole: st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)).map(
                lambda change: whole[: change[0]] + bytes([change[1]]) + whole[change[0] + 1 :]
            )
        ),
    ),
)
def test_hostile_manifests_end_in_packages_or_an_error(path: str, data: bytes) -> None:
    assert manifest_reader(path) is not None
    try:
        packages = read_manifest(path, data)
    except FormatError:
        return
    assert all(package.name and package.version and package.purl.startswith("pkg:") for package in packages)
