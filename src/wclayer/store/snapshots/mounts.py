r"""Mount objects as containerd's three snapshotters for Windows give them, for a root on a Windows host.

What is printed here can be handed to containerd or hcsshim. The lists in the options are JSON as Go writes it, nearest
parent first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Mount", "block_cim_mount", "cim_mount", "snapshot_folder", "windows_layer_mount"]

_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


class Mount(NamedTuple):
    """One mount: what containerd calls ``Type``, ``Source`` and ``Options``."""

    type: str
    source: str
    options: tuple[str, ...]


def windows_layer_mount(source: str, parents: Sequence[str], *, read_only: bool) -> Mount:
    """Of the snapshotter ``windows``: ``source`` and ``parents`` are the folders of snapshots."""
    options = ["ro" if read_only else "rw"]
    if parents:
        options.append(f"parentLayerPaths={_list(parents)}")
    return Mount("windows-layer", source, tuple(options))


def cim_mount(root: str, number: str, parents: Sequence[str], *, read_only: bool) -> Mount:
    """Of the snapshotter ``cimfs``; ``number`` and ``parents`` are ids of snapshots, ``root`` is its folder."""
    options = ["ro" if read_only else "rw", f"cimpath={_cim(root, number)}"]
    if parents:
        options.append(f"parentLayerPaths={_list(snapshot_folder(root, one) for one in parents)}")
        options.append(f"parentCimPaths={_list(_cim(root, one) for one in parents)}")
    return Mount("CimFS", snapshot_folder(root, number), tuple(options))


def block_cim_mount(
    root: str,
    number: str,
    parents: Sequence[str],
    *,
    scratch: bool,
    integrity: bool = False,
    footer: bool = False,
) -> Mount:
    """Of the snapshotter ``blockcim``: ``scratch`` says whether the snapshot is one to write in.

    ``integrity`` and ``footer`` are its options ``enable_layer_integrity`` and ``append_vhd_footer``.
    """
    options = [f"parentCimPaths={_list(_block(root, one) for one in parents)}", "blockCIMType=file"]
    options += ["enable_layer_integrity"] if integrity else []
    options += ["append_vhd_footer"] if footer else []
    if scratch and len(parents) > 1:
        options.append(f"mergedCIMPath={snapshot_folder(root, parents[0])}\\merged.vhd\\merged.cim")
    return Mount("BlockCIM", snapshot_folder(root, number) if scratch else _block(root, number), tuple(options))


def snapshot_folder(root: str, number: str) -> str:
    """The folder of the snapshot ``number`` on a Windows host."""
    return f"{root}\\snapshots\\{number}"


def _cim(root: str, number: str) -> str:
    return f"{root}\\snapshots\\cim-layers\\{number}.cim"


def _block(root: str, number: str) -> str:
    return f"{snapshot_folder(root, number)}\\layer.vhd\\layer.cim"


def _list(paths: Iterable[str]) -> str:
    return json.dumps(list(paths), separators=(",", ":"), ensure_ascii=False).translate(_ESCAPES)
