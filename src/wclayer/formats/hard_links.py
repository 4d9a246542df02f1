"""Hard links written out: every name becomes the whole file that it is a name of.

A link of a layer names a file of that layer or of one below. Its data is at hand where the link is; descriptor,
extended attributes and alternate streams belong to the file, so they are fetched from wherever that lies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from wclayer.errors import NotFoundError
from wclayer.formats.folder import LayerFolder, Node
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices

__all__ = ["file_behind", "without_hard_links", "written_out"]


def without_hard_links(
    items: Iterable[LayerItem], layers: Sequence[LayerFolder], notices: Notices
) -> Iterator[LayerItem]:
    """Every name of a file as a file of its own, which is how hcsshim exported layers before it knew hard links.

    ``layers`` are the layer that ``items`` come from and those below it, nearest first. A name has no metadata but its
    file's; where the source says otherwise, the notices are ``link-times`` and ``link-attributes``. Raises
    NotFoundError for a link whose file is nowhere.
    """
    for item in items:
        if isinstance(item, HardLink):
            found = None
            node = layers[0].lookup(item.path)
            if node is not None:
                found = file_behind(layers, 0, node)
            yield from written_out(item, layers, found, notices)
        elif isinstance(item, Entry) and item.file_id is not None:
            yield Entry(
                item.path,
                item.metadata,
                is_directory=item.is_directory,
                data=item.data,
                ordinal=item.ordinal,
                reported_size=item.reported_size,
            )
        else:
            yield item


def file_behind(layers: Sequence[LayerFolder], number: int, node: Node) -> tuple[int, Node] | None:
    """The file that ``node`` of ``layers[number]`` is a name of, and the number of its layer; None when it is nowhere.

    ``layers`` are nearest first, and each stands on those behind it.
    """
    seen = set()
    while node.is_link:
        if (number, node.id) in seen:
            return None
        seen.add((number, node.id))
        target = node.target_node()
        if target is None:
            if node.target_layer is None:
                return None
            number += 1 + node.target_layer
            target = layers[number].lookup(node.target or "") if number < len(layers) else None
            if target is None:
                return None
        node = target
    return (number, node) if node.is_file else None


def written_out(
    link: HardLink, layers: Sequence[LayerFolder], found: tuple[int, Node] | None, notices: Notices
) -> Iterator[Entry | AlternateStream]:
    """The file ``found`` with its streams under the name of ``link``. Raises NotFoundError when there is none."""
    if found is None:
        raise NotFoundError(
            f"the target {link.target} of a hard link is neither in this layer nor in those below it",
            path=link.path,
            hint="name the parents, so that the file can be copied",
        )
    layer, file = layers[found[0]], found[1]
    metadata = file.metadata()
    _tell_link_losses(link, metadata, notices)
    yield Entry(link.path, metadata, data=layer.open_data(file), ordinal=link.ordinal)
    for stream in layer.streams(file):
        yield AlternateStream(link.path, stream.name, layer.open_stream(stream))


def _tell_link_losses(link: HardLink, kept: Metadata, notices: Notices) -> None:
    said = link.metadata
    if (said.creation_time, said.last_access_time, said.last_write_time, said.change_time) != (
        kept.creation_time,
        kept.last_access_time,
        kept.last_write_time,
        kept.change_time,
    ):
        notices.add("link-times", link.path, "a link has the times of its file; the source has others")
    if said.attributes != kept.attributes:
        notices.add("link-attributes", link.path, "a link has the attributes of its file; the source has others")
