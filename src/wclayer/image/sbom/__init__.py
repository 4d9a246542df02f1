"""Bills of materials: what is in an image, which layer brought it, in the formats that scanners read."""

from __future__ import annotations

from wclayer.image.sbom.inventory import Component, Inventory, Subject
from wclayer.image.sbom.pe import PeFacts, read_pe
from wclayer.image.sbom.run import FORMATS, Bill, SbomFormat, sbom

__all__ = ["FORMATS", "Bill", "Component", "Inventory", "PeFacts", "SbomFormat", "Subject", "read_pe", "sbom"]
