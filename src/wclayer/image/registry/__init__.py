"""The registry of an image: effective hives, what is in them, what differs, who changed it, and changing it."""

from __future__ import annotations

from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.history import RegistryEvent
from wclayer.image.registry.key_paths import HIVES, KeyPath, parse_key_path, shown_path

__all__ = ["HIVES", "ImageRegistry", "KeyPath", "RegistryEvent", "parse_key_path", "shown_path"]
