"""Whatever a registry or a manifest says, the bill stays one that the validators of its format accept."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from wclayer.image.sbom import Component, Inventory, Subject
from wclayer.image.sbom.cyclonedx import cyclonedx_pieces
from wclayer.image.sbom.inventory import KINDS, plain_text
from wclayer.image.sbom.manifests import Package
from wclayer.image.sbom.spdx import spdx_pieces

TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE010), max_size=5),
    st.sampled_from(["", " ", "(", "a (b)", "a (b@c)", "Tool: x", "NOASSERTION", "NONE", "MIT OR", "GPL-2.0 WITH x"]),
    st.sampled_from(
        [
            "MIT",
            "MIT AND Apache-2.0",
            "mit",
            "LicenseRef-x",
            "()",
            "MIT OR OR MIT",
            "((((",
            "\ud800",
            "a\nb",
            "%",
            "../x",
            "a//b",
            ".",
        ]
    ),
)
PROPERTIES = st.lists(st.tuples(st.sampled_from(["a", "b"]), TEXTS), max_size=3).map(tuple)
COMPONENTS = st.builds(
    Component,
    kind=st.sampled_from(KINDS),
    name=TEXTS,
    version=TEXTS,
    layer=st.integers(0, 3),
    path=TEXTS,
    supplier=TEXTS,
    purl=st.builds(
        lambda kind, name, version: Package(kind, name, version).purl,
        st.sampled_from(["npm", "pypi"]),
        TEXTS.map(plain_text),
        TEXTS.map(plain_text),
    ),
    license=TEXTS,
    sha256=st.sampled_from(["", "0" * 64]),
    properties=PROPERTIES,
)
SUBJECTS = st.builds(
    Subject,
    reference=st.just("oci:image"),
    digest=st.sampled_from([None, "sha256:" + "0" * 64]),
    layers=st.lists(st.sampled_from([None, "sha256:" + "1" * 64]), max_size=2).map(tuple),
    created=st.integers(0, 253_402_300_799),
    tool_version=st.just("1.0"),
    notes=st.lists(TEXTS, max_size=2).map(tuple),
)
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(SUBJECTS, st.lists(COMPONENTS, max_size=4))
def test_cyclonedx_stays_valid(subject: Subject, components: list[Component]) -> None:
    with Inventory() as inventory:
        for one in components:
            inventory.add(one)
        text = "".join(cyclonedx_pieces(subject, inventory))
        assert len(json.loads(text)["components"]) == len(inventory)
        assert VALIDATOR.validate_str(text) is None, text


@settings(MANY, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(SUBJECTS, st.lists(COMPONENTS, max_size=3))
def test_spdx_stays_valid(tmp_path: Path, subject: Subject, components: list[Component]) -> None:
    path = tmp_path / "any.spdx.json"
    with Inventory() as inventory:
        for one in components:
            inventory.add(one)
        path.write_text("".join(spdx_pieces(subject, inventory)))
        document = parse_file(str(path))
        assert validate_full_spdx_document(document) == [], path.read_text()
        assert len(document.packages) == len(inventory) + 1


@pytest.fixture(autouse=True)
def quiet_libraries(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
