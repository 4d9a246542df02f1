"""Layers that the reference implementation wrote or reads: unpacked and exported again, they are the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wclayer.errors import IntegrityError
from wclayer.image.exporting import export_layer
from wclayer.image.importing import import_layer

_DATA = Path(__file__).parents[1] / "data"

# Archives that a tar reader reads and no unpacker may: duplicate entries, ``..`` in names, links that NTFS cannot hold.
_REFUSED = {
    "504-hard-link-stream-unread",
    "506-dots-in-the-name",
    "507-stream-without-colon",
    "515-whiteout-names",
    "519-long-link-target",
}
_CASES = [
    case.parent
    for folder in ("layertar", "layertar-extra")
    for case in sorted((_DATA / folder).glob("*/case.json"))
    if json.loads(case.read_bytes())["kind"] in ("encode", "decode")
]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case.name)
def test_a_decodable_vector_comes_back_byte_for_byte(case: Path, tmp_path: Path) -> None:
    source = case / "layer.tar"
    if case.name in _REFUSED:
        with pytest.raises(IntegrityError):
            import_layer(str(source), tmp_path / "layer")
        assert list(tmp_path.iterdir()) == []
        return
    imported = import_layer(str(source), tmp_path / "layer")
    exported = export_layer(imported.path, str(tmp_path / "again.tar"), form="original")
    assert (tmp_path / "again.tar").read_bytes() == source.read_bytes()
    assert exported.diff_id == imported.diff_id
