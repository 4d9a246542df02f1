"""The names that images go by in one place: the tags of a repository, or the names in a layout or an archive."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wclayer.errors import UsageError, WclayerError
from wclayer.oci.image import Image
from wclayer.oci.limits import Limits
from wclayer.oci.open import open_place
from wclayer.oci.references import parse_reference

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["Tags", "list_tags"]


@dataclass(frozen=True, slots=True)
class Tags:
    """The names, sorted, in the place that ``reference`` leads to."""

    reference: str
    tags: tuple[str, ...]


def list_tags(
    reference: str,
    *,
    network: Network | None = None,
    limits: Limits = Limits(),  # noqa: B008  # frozen
) -> Tags:
    """All names in the place of ``reference``, whose own tag does not matter.

    Raises UsageError for a bare layer, and what :func:`wclayer.oci.open_image` raises.
    """
    place = parse_reference(reference)
    try:
        opened = open_place(place, limits=limits, network=network)
        if isinstance(opened, Image):
            with opened:
                raise UsageError("a layer without an image around it has no tags")
        store, found = opened
        with closing(store):
            return Tags(str(found), tuple(sorted(set(store.names()))))
    except WclayerError as error:
        error.locate(image=str(place))
        raise
