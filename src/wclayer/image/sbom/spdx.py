"""A bill of materials as SPDX 2.3 JSON, made with the library of that project.

Everything is a package, files too: a file of SPDX must have a SHA-1, which nobody should need. The layer that brought
it is an annotation of each package. Like the document itself, every package and relationship is encoded by the
library, one at a time, so that memory does not grow with their number.

Source: SPDX Specification 2.3.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, get_spdx_licensing  # type: ignore[import-untyped]
from spdx_tools.spdx.jsonschema.document_converter import DocumentConverter
from spdx_tools.spdx.jsonschema.package_converter import PackageConverter
from spdx_tools.spdx.jsonschema.relationship_converter import RelationshipConverter
from spdx_tools.spdx.model.actor import Actor, ActorType
from spdx_tools.spdx.model.annotation import Annotation, AnnotationType
from spdx_tools.spdx.model.checksum import Checksum, ChecksumAlgorithm
from spdx_tools.spdx.model.document import CreationInfo, Document
from spdx_tools.spdx.model.package import ExternalPackageRef, ExternalPackageRefCategory, Package, PackagePurpose
from spdx_tools.spdx.model.relationship import Relationship, RelationshipType
from spdx_tools.spdx.model.spdx_no_assertion import SpdxNoAssertion

from wclayer.image.sbom.inventory import Component, Inventory, Subject, is_license_expression, plain_text

__all__ = ["spdx_pieces"]

_PURPOSES = {
    "os": PackagePurpose.OPERATING_SYSTEM,
    "update": PackagePurpose.INSTALL,
    "software": PackagePurpose.APPLICATION,
    "framework": PackagePurpose.FRAMEWORK,
    "package": PackagePurpose.LIBRARY,
    "file": PackagePurpose.FILE,
}
# What stands in parentheses after the name of a supplier is read as its address.
_BRACKETS = str.maketrans("()", "[]")
_ROOT = "SPDXRef-image"
_DOCUMENT = "SPDXRef-DOCUMENT"


def spdx_pieces(subject: Subject, inventory: Inventory) -> Iterator[str]:
    """The document in pieces; joined they are JSON. The inventory is gone through twice."""
    created = datetime.fromtimestamp(subject.created, UTC).replace(tzinfo=None)
    tool = Actor(ActorType.TOOL, f"wclayer-{subject.tool_version}")
    notes = "; ".join(plain_text(note) for note in subject.notes)
    info = CreationInfo(
        spdx_version="SPDX-2.3",
        spdx_id=_DOCUMENT,
        name=plain_text(subject.reference),
        document_namespace=f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, subject.identity)}",
        creators=[tool],
        created=created,
        creator_comment=notes or None,
    )
    document = Document(info)
    packages = PackageConverter()  # type: ignore[no-untyped-call]
    relationships = RelationshipConverter()

    def package(one: Package, comment: str) -> str:
        document.annotations = [Annotation(one.spdx_id, AnnotationType.OTHER, tool, created, comment)]
        return json.dumps(_known(packages.convert(one, document)))

    def relationship(source: str, kind: RelationshipType, target: str) -> str:
        return json.dumps(relationships.convert(Relationship(source, kind, target)))

    head = DocumentConverter().convert(document)  # type: ignore[no-untyped-call]
    yield "{\n"
    for key, value in head.items():
        if key not in ("packages", "relationships", "documentDescribes"):
            yield f" {json.dumps(key)}: {json.dumps(value)},\n"
    layers = ", ".join(f"layer {number}: {layer or 'not known'}" for number, layer in enumerate(subject.layers))
    yield f' "packages": [\n  {package(_root(subject), layers or "no layers")}'
    for component in inventory:
        yield f",\n  {package(_package(component), _origin(subject, component))}"
    yield f'\n ],\n "relationships": [\n  {relationship(_DOCUMENT, RelationshipType.DESCRIBES, _ROOT)}'
    for component in inventory:
        yield f",\n  {relationship(_ROOT, RelationshipType.CONTAINS, f'SPDXRef-{component.ref}')}"
    yield "\n ]\n}\n"


def _root(subject: Subject) -> Package:
    return Package(
        spdx_id=_ROOT,
        name=plain_text(subject.reference),
        download_location=SpdxNoAssertion(),
        version=subject.digest,
        files_analyzed=False,
        primary_package_purpose=PackagePurpose.CONTAINER,
    )


def _origin(subject: Subject, one: Component) -> str:
    layer = subject.layer_id(one.layer)
    lines = [f"layer: {one.layer}{f' {layer}' if layer else ''}", f"kind: {one.kind}"]
    return "\n".join([*lines, *(f"{name}: {text}" for name, text in one.properties)])


def _package(one: Component) -> Package:
    references = []
    if one.purl:
        references.append(ExternalPackageRef(ExternalPackageRefCategory.PACKAGE_MANAGER, "purl", one.purl))
    if one.cpe:
        references.append(ExternalPackageRef(ExternalPackageRefCategory.SECURITY, "cpe23Type", one.cpe))
    declared = _license(one.license) if one.license else None
    return Package(
        spdx_id=f"SPDXRef-{one.ref}",
        name=one.name,
        download_location=SpdxNoAssertion(),
        version=one.version or None,
        file_name=f"./{one.path}" if one.path else None,
        supplier=Actor(ActorType.ORGANIZATION, one.supplier.translate(_BRACKETS)) if one.supplier else None,
        files_analyzed=False,
        checksums=[Checksum(ChecksumAlgorithm.SHA256, one.sha256)] if one.sha256 else None,
        license_declared=declared,
        license_comment=f"the package says: {one.license}" if one.license and declared is None else None,
        external_references=references,
        primary_package_purpose=_PURPOSES[one.kind],
    )


def _known(package: dict[str, Any]) -> dict[str, Any]:
    """Without lists that are empty."""
    return {key: value for key, value in package.items() if value != []}


@lru_cache(maxsize=1024)
def _license(text: str) -> Any:
    """The expression, None when it is none of known licences."""
    if not is_license_expression(text):
        return None
    try:
        return get_spdx_licensing().parse(text, validate=True)
    except ExpressionError:
        return None
