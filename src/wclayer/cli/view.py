"""Opening what the verbs that look into images look into."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wclayer.cli.output import tell_notes
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.cli.network_options import NetworkOptions
    from wclayer.image.view import View

__all__ = ["opened_view"]


@contextmanager
def opened_view(
    image: str,
    *,
    platform: str | None,
    layer: int | None,
    no_limits: bool,
    progress: str,
    network: NetworkOptions,
    data: bool = True,
) -> Iterator[View]:
    """The view that the options ask for; what is to be noted about it is told."""
    from wclayer.image.target import open_view

    limits = None
    if no_limits:
        from wclayer.oci import Limits

        limits = Limits.none()
    watcher = make_progress(progress)
    with open_view(
        image,
        platform=platform,
        layer=layer,
        limits=limits,
        data=data,
        progress=watcher,
        network=network.for_image(image, progress=watcher),
    ) as view:
        tell_notes(view.notes)
        yield view
