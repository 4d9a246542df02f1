"""Registries: distribution-spec pull and push. Names load when they are first used, and with them the network code."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wclayer.oci.registry.client import RegistryClient
    from wclayer.oci.registry.documents import Document
    from wclayer.oci.registry.http import Answer, StreamedBody
    from wclayer.oci.registry.names import RegistryName, parse_registry_name
    from wclayer.oci.registry.repository import Repository
    from wclayer.oci.registry.secrets import Secret
    from wclayer.oci.registry.settings import RegistrySettings

__all__ = [
    "Answer",
    "Document",
    "RegistryClient",
    "RegistryName",
    "RegistrySettings",
    "Repository",
    "Secret",
    "StreamedBody",
    "parse_registry_name",
]

_HOMES = {
    "Answer": "http",
    "Document": "documents",
    "RegistryClient": "client",
    "RegistryName": "names",
    "RegistrySettings": "settings",
    "Repository": "repository",
    "Secret": "secrets",
    "StreamedBody": "http",
    "parse_registry_name": "names",
}


def __getattr__(name: str) -> object:
    """Load a public name from its home; the next access finds it without coming here."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
