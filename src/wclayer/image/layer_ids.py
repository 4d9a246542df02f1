"""The GUIDs under which Windows knows layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from wclayer.hcs.identity import descriptor_bytes, layer_id, layer_name, name_to_guid, shared_ids

__all__ = ["LayerIdentity", "layer_identities"]


@dataclass(frozen=True, slots=True)
class LayerIdentity:
    """A layer: its path as given, the name in it, and the GUID of that name as text.

    ``descriptor`` is the ``WC_LAYER_DESCRIPTOR`` of 64-bit Windows in hexadecimal, with a pointer of 0. ``shared_with``
    are other paths with the same GUID.
    """

    path: str
    name: str
    guid: str
    descriptor: str
    shared_with: tuple[str, ...] = ()


def layer_identities(paths: Sequence[str], *, are_names: bool = False) -> list[LayerIdentity]:
    """The identity of each path, which need not exist; with ``are_names`` of each text as it is."""
    if are_names:
        return [LayerIdentity(name, name, str(guid := name_to_guid(name)), _descriptor(guid)) for name in paths]
    shared = shared_ids(paths)
    found = []
    for path in paths:
        guid = layer_id(path)
        others = tuple(other for other in shared.get(guid, ()) if other != path)
        found.append(LayerIdentity(path, layer_name(path), str(guid), _descriptor(guid), others))
    return found


def _descriptor(guid: UUID) -> str:
    return descriptor_bytes(guid, 0).hex()
