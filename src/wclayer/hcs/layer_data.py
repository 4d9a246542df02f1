"""The JSON texts that ``computestorage.dll`` takes, byte for byte as Go writes hcsshim's structures.

Compact, fields in the order of their declaration, empty fields left out; but ``SchemaVersion`` is a structure and
therefore always there, if only as ``{}``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from wclayer.hcs.identity import layer_id

__all__ = ["Layer", "LayerData", "OsLayerOptions", "export_options", "layers_of"]

# Go escapes what would end a script or a line of one.
_GO_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A parent layer: its GUID as text, and its folder."""

    id: str = ""
    path: str = ""
    path_type: str = ""
    cache: str = ""


@dataclass(frozen=True, slots=True)
class LayerData:
    """``HcsLayerData``: what a layer stands on, nearest first. ``filter_type`` is ``""``, ``WCIFS`` or ``UnionFS``."""

    major: int = 0
    minor: int = 0
    layers: tuple[Layer, ...] = ()
    filter_type: str = ""

    def to_json(self) -> str:
        """The text for the call."""
        return _dump(
            {
                "SchemaVersion": _filled({"Major": self.major, "Minor": self.minor}),
                **_filled(
                    {
                        "Layers": [
                            _filled({"Id": one.id, "Path": one.path, "PathType": one.path_type, "Cache": one.cache})
                            for one in self.layers
                        ],
                        "FilterType": self.filter_type,
                    }
                ),
            }
        )


@dataclass(frozen=True, slots=True)
class OsLayerOptions:
    """``HcsOsLayerOptions``, of ``HcsSetupBaseOSLayer`` and ``HcsSetupBaseOSVolume``."""

    type: Literal["", "Container", "Vm"] = ""
    disable_ci_cache_optimization: bool = False
    skip_update_bcd_for_boot: bool = False

    def to_json(self) -> str:
        """The text for the call."""
        return _dump(
            _filled(
                {
                    "Type": self.type,
                    "DisableCiCacheOptimization": self.disable_ci_cache_optimization,
                    "SkipUpdateBcdForBoot": self.skip_update_bcd_for_boot,
                }
            )
        )


def export_options(*, writable: bool) -> str:
    """``HcsExportLayerOptions``: whether a scratch layer is exported."""
    return _dump(_filled({"IsWritableLayer": writable}))


def layers_of(paths: Sequence[str]) -> tuple[Layer, ...]:
    """The layers in the folders ``paths``, nearest first, under the GUIDs that hcsshim gives them."""
    return tuple(Layer(str(layer_id(path)), path) for path in paths)


def _filled(fields: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value}


def _dump(document: dict[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES)
