"""A bill of materials as CycloneDX 1.6 JSON, made with the library of that project.

The document without components is what the library makes of it; every component is encoded by the library as well, but
one at a time, so that memory does not grow with their number.

Source: CycloneDX Specification 1.6 (ECMA-424). What it has no field for stands in properties that begin with wclayer:.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component as Part
from cyclonedx.model.component import ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema.schema import SchemaVersion1Dot6
from packageurl import PackageURL

from wclayer.image.sbom.inventory import Component, Inventory, Subject, is_license_expression, plain_text

if TYPE_CHECKING:
    from cyclonedx.model.license import License

__all__ = ["cyclonedx_pieces"]

_TYPES = {
    "os": ComponentType.OPERATING_SYSTEM,
    "update": ComponentType.APPLICATION,
    "software": ComponentType.APPLICATION,
    "framework": ComponentType.FRAMEWORK,
    "package": ComponentType.LIBRARY,
    "file": ComponentType.FILE,
}


def cyclonedx_pieces(subject: Subject, inventory: Inventory) -> Iterator[str]:
    """The document in pieces; joined they are JSON."""
    head = _head(subject)
    yield "{\n"
    for key, value in head.items():
        yield f" {json.dumps(key)}: {json.dumps(value)},\n"
    yield ' "components": ['
    separator = "\n  "
    for component in inventory:
        part = _part(subject, component)
        # The library's decorators add the method, which types do not show.
        encoded = json.loads(part.as_json(view_=SchemaVersion1Dot6))  # type: ignore[attr-defined]
        yield f"{separator}{json.dumps(encoded)}"
        separator = ",\n  "
    yield "\n ]\n}\n"


def _head(subject: Subject) -> dict[str, Any]:
    layers = [
        Property(name=f"wclayer:layer:{number}", value=layer or "not known")
        for number, layer in enumerate(subject.layers)
    ]
    notes = [
        Property(name=f"wclayer:note:{number}", value=plain_text(note)) for number, note in enumerate(subject.notes)
    ]
    metadata = BomMetaData(
        timestamp=datetime.fromtimestamp(subject.created, UTC),
        tools=ToolRepository(
            components=[Part(name="wclayer", version=subject.tool_version, type=ComponentType.APPLICATION)]
        ),
        component=Part(
            name=plain_text(subject.reference),
            version=subject.digest,
            type=ComponentType.CONTAINER,
            bom_ref="image",
        ),
        properties=[*layers, *notes],
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, subject.identity), metadata=metadata)
    head: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    head.pop("components", None)
    head.pop("dependencies", None)  # what an image holds says nothing of what needs what
    return head


def _part(subject: Subject, one: Component) -> Part:
    properties = [
        Property(name="wclayer:kind", value=one.kind),
        Property(name="wclayer:layer:number", value=str(one.layer)),
        *([Property(name="wclayer:layer:diff-id", value=layer)] if (layer := subject.layer_id(one.layer)) else []),
        *([Property(name="wclayer:path", value=one.path)] if one.path else []),
        *(Property(name=f"wclayer:{name}", value=text) for name, text in one.properties),
    ]
    licence = _license(one.license) if one.license else None
    return Part(
        name=one.name,
        version=one.version or None,
        type=_TYPES[one.kind],
        bom_ref=one.ref,
        supplier=OrganizationalEntity(name=one.supplier) if one.supplier else None,
        publisher=one.supplier or None,
        purl=_purl(one.purl),
        cpe=one.cpe or None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one.sha256)] if one.sha256 else None,
        licenses=[licence] if licence is not None else None,
        properties=properties,
    )


def _purl(text: str) -> PackageURL | None:
    """The package URL, None when the name of the package is none that there can be."""
    try:
        return PackageURL.from_string(text) if text else None
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _license(text: str) -> License:
    if not is_license_expression(text):
        return DisjunctiveLicense(name=text)
    return LicenseFactory().make_from_string(text)
