"""Finding the components of an image: what its registry lists, and what its files are.

The registry gives Windows, its updates and what was installed. Of the files of drive C, as a container sees them, the
programs with a version resource and the manifests of package managers are taken. A file is known for a program by how
it begins, whatever its name is; one with several names is listed once. Every layer is read once, one file at a time,
and no file is held in memory.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from wclayer.errors import FormatError, NotFoundError, StoreError, WclayerError
from wclayer.image.paths import VOLUME, windows_path
from wclayer.image.sbom.inventory import Component, Inventory, Kind
from wclayer.image.sbom.manifests import MAX_MANIFEST, manifest_reader, read_manifest
from wclayer.image.sbom.pe import PeFacts, read_pe
from wclayer.image.software import dotnet, iis, installed_software, installed_updates, server_features
from wclayer.image.windows_version import WindowsVersion, windows_version
from wclayer.model import Stream

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry
    from wclayer.image.view import Consume, Found, View

__all__ = ["Collector"]

_MICROSOFT = "Microsoft Corporation"
_CPE_PRODUCTS = {
    14393: "windows_server_2016",
    17763: "windows_server_2019",
    20348: "windows_server_2022",
    26100: "windows_server_2025",
}
_CPE_ARCHITECTURES = {"amd64": "x64", "arm64": "arm64", "386": "x86"}
_SMALLEST = 64  # bytes, the header of a program
_IN_MEMORY = 8 << 20
_LARGEST = 1 << 30  # bytes, of a program
_HOLES = 8  # a program is at most so many times as large as what is stored of it
_NOTES = 100


class Collector:
    """Puts what it finds into ``inventory``, and what it cannot read into :attr:`notes`."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.programs = 0
        self._notes: list[str] = []
        self._unlisted = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be looked at, the first hundred, and how many more."""
        more = [f"and {self._unlisted} more"] if self._unlisted else []
        return (*self._notes, *more)

    def note(self, text: str) -> None:
        """Remember that something could not be looked at."""
        if len(self._notes) < _NOTES:
            self._notes.append(text)
        else:
            self._unlisted += 1

    # ------------------------------------------------------------------ the registry

    def registry(self, registry: ImageRegistry, config: dict[str, object] | None) -> WindowsVersion:
        """Windows, its updates, and what is installed. Raises what reading hives raises."""
        version = windows_version(registry, config)
        for sentence in (*version.not_assessed, *version.disagreements):
            self.note(sentence)
        if version.is_assessed:
            self.inventory.add(_windows(version))
        for update in installed_updates(registry):
            if update.is_installed:
                facts = [("update-kind", update.kind), ("state", update.state), ("package", update.package)]
                if update.installed_text:
                    facts.append(("installed", update.installed_text))
                self._add("update", update.name, update.version, update.layer, _MICROSOFT, facts)
        for one in installed_software(registry):
            facts = [("registry-view", one.view), ("registry-key", one.key)]
            if one.installed:
                facts.append(("installed", one.installed))
            self._add("software", one.name, one.version or "", one.layer, one.publisher or "", facts)
        for framework in dotnet(registry):
            version_text = framework.full_version or framework.version
            name = framework.product
            if framework.version != version_text:
                name = f"{name} {framework.version}"
            self._add("framework", name, version_text, framework.layer, _MICROSOFT, [])
        server = iis(registry)
        if server is not None:
            components = [("component", name) for name in server.components]
            self._add(
                "framework", "Internet Information Services", server.version or "", server.layer, _MICROSOFT, components
            )
        for name, layer in server_features(registry):
            self._add("framework", name, "", layer, _MICROSOFT, [("framework-kind", "server feature")])
        for sentence in registry.notes:
            self.note(sentence)
        return version

    def _add(
        self, kind: Kind, name: str, version: str, layer: int, supplier: str, facts: list[tuple[str, str]]
    ) -> None:
        self.inventory.add(Component(kind, name, version, layer, supplier=supplier, properties=tuple(facts)))

    # ------------------------------------------------------------------ the files

    def files(self, view: View) -> None:
        """Programs and manifests on drive C. Raises what reading the layers raises."""
        try:
            volume = view.find(VOLUME, follow=False)
        except NotFoundError:
            self.note("the layers have no Files")
            return
        view.read(self._wanted(view, volume))

    def _wanted(self, view: View, volume: Found) -> Iterator[tuple[Found, Consume]]:
        seen = set()
        for found in view.walk(volume):
            if found.is_folder or found.is_reparse_point or found.is_tombstone:
                continue
            try:
                layer, node = view.content(found)
            except WclayerError as error:
                self.note(f"{windows_path(found.path)}: {error.message}")
                continue
            size = node.size or 0
            is_manifest = manifest_reader(found.path) is not None
            if (size < _SMALLEST and not is_manifest) or (layer, node.id) in seen:
                continue
            seen.add((layer, node.id))
            number = view.number(layer)
            if is_manifest:
                yield found, partial(self._manifest, found.path, number)
            else:
                yield found, partial(self._program, found.path, number)

    def _manifest(self, path: str, layer: int, data: Stream) -> None:
        if data.size > MAX_MANIFEST:
            self.note(f"{windows_path(path)}: {data.size} bytes are too many for a manifest")
            return
        raw = b"".join(data.pieces())
        try:
            packages = read_manifest(path, raw)
        except WclayerError as error:
            self.note(f"{windows_path(path)}: {error.message}")
            return
        for one in packages:
            self.inventory.add(
                Component(
                    "package",
                    one.name,
                    one.version,
                    layer,
                    path=path,
                    supplier=one.supplier,
                    purl=one.purl,
                    license=one.license,
                    properties=(("package-type", one.kind),),
                )
            )

    def _program(self, path: str, layer: int, data: Stream) -> None:
        pieces = data.pieces()
        head = b""
        for piece in pieces:
            head += bytes(piece)
            if len(head) >= 2:
                break
        if head[:2] != b"MZ":
            return
        if data.size > min(_LARGEST, max(_IN_MEMORY, _HOLES * data.stored)):
            self.note(f"{windows_path(path)}: {data.size} bytes, {data.stored} of them stored, are too many")
            return
        digest = hashlib.sha256(head)
        try:
            with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
                file.write(head)
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                facts = read_pe(file, data.size)
        except FormatError as error:
            if error.kind != "pe":
                raise
            self.note(f"{windows_path(path)}: {error.message}")
            return
        except OSError as error:
            raise StoreError(f"cannot keep a program in the temporary folder: {error.strerror}") from error
        if facts is None:
            return
        self.programs += 1
        if facts.has_version:
            self.inventory.add(_program(path, layer, facts, digest.hexdigest()))


def _windows(version: WindowsVersion) -> Component:
    facts = [
        (name, value)
        for name, value in (
            ("edition", version.edition),
            ("installation-type", version.installation_type),
            ("display-version", version.display_version),
            ("release", version.release),
            ("architecture", version.architecture),
            ("config-os-version", version.config_version),
        )
        if value
    ]
    product = _CPE_PRODUCTS.get(version.build or 0)
    is_server = "server" in (version.installation_type or version.product or "").lower()
    cpe = ""
    if product and is_server and version.version:
        cpu = _CPE_ARCHITECTURES.get(version.architecture or "", "*")
        cpe = f"cpe:2.3:o:microsoft:{product}:{version.version}:*:*:*:*:*:{cpu}:*"
    return Component(
        "os",
        version.product or "Windows",
        version.version or str(version.build),
        version.layer or 0,
        supplier=_MICROSOFT,
        cpe=cpe,
        properties=tuple(facts),
    )


def _program(path: str, layer: int, facts: PeFacts, sha256: str) -> Component:
    properties = [("architecture", facts.machine), ("signature", "embedded" if facts.has_signature else "none")]
    properties += [
        (name, text)
        for name, text in (
            ("product", facts.text("ProductName")),
            ("product-version", facts.text("ProductVersion") or facts.product_version),
            ("description", facts.text("FileDescription")),
            ("original-filename", facts.text("OriginalFilename")),
            ("file-version", facts.text("FileVersion")),
        )
        if text
    ]
    return Component(
        "file",
        path.rpartition("/")[2],
        facts.file_version or facts.text("FileVersion"),
        layer,
        path=path,
        supplier=facts.text("CompanyName"),
        sha256=sha256,
        properties=tuple(properties),
    )
