"""What NTFS keeps about a file, as pure functions between bytes and values.

No module here opens a file. Security descriptors are in :mod:`wclayer.ntfs.security` and :mod:`wclayer.ntfs.sddl`,
which are not loaded until someone asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
    from wclayer.ntfs.backup import BackupStreamReader, BackupStreamWriter, StreamHeader
    from wclayer.ntfs.backup_sparse import SparseAssembler, StreamLayout, stream_layout, write_sparse
    from wclayer.ntfs.ea import ExtendedAttribute, decode_eas, encode_eas
    from wclayer.ntfs.names import (
        checked_path,
        checked_stream_name,
        decode_wtf8,
        encode_wtf8,
        fold,
        path_notice,
        split_stream,
    )
    from wclayer.ntfs.reparse import (
        MountPoint,
        OpaqueReparse,
        SymbolicLink,
        build_link,
        link_target,
        parse_reparse,
    )

__all__ = [
    "BackupStreamReader",
    "BackupStreamWriter",
    "ExtendedAttribute",
    "MountPoint",
    "OpaqueReparse",
    "SparseAssembler",
    "StreamHeader",
    "StreamLayout",
    "SymbolicLink",
    "build_link",
    "checked_path",
    "checked_stream_name",
    "decode_eas",
    "decode_wtf8",
    "encode_eas",
    "encode_wtf8",
    "fold",
    "link_target",
    "parse_reparse",
    "path_notice",
    "split_stream",
    "stream_layout",
    "write_sparse",
]

_HOMES = {
    "wclayer.ntfs.backup": ("BackupStreamReader", "BackupStreamWriter", "StreamHeader"),
    "wclayer.ntfs.backup_sparse": ("SparseAssembler", "StreamLayout", "stream_layout", "write_sparse"),
    "wclayer.ntfs.ea": ("ExtendedAttribute", "decode_eas", "encode_eas"),
    "wclayer.ntfs.names": (
        "checked_path",
        "checked_stream_name",
        "decode_wtf8",
        "encode_wtf8",
        "fold",
        "path_notice",
        "split_stream",
    ),
    "wclayer.ntfs.reparse": (
        "MountPoint",
        "OpaqueReparse",
        "SymbolicLink",
        "build_link",
        "link_target",
        "parse_reparse",
    ),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
