"""A folder of this machine as a folder of an NTFS volume: hcsshim's ``safefile``, BackupRead and BackupWrite."""

from wclayer.formats.volume.backup_read import backup_pieces, copy_backup, read_function
from wclayer.formats.volume.errors import UnsafePathError, VolumeError
from wclayer.formats.volume.manifest import Manifest
from wclayer.formats.volume.record import BasicInfo, Record
from wclayer.formats.volume.restore import BackupRestore
from wclayer.formats.volume.tree import Status
from wclayer.formats.volume.volume import OpenNode, RestoreObserver, Volume

__all__ = [
    "BackupRestore",
    "BasicInfo",
    "Manifest",
    "OpenNode",
    "Record",
    "RestoreObserver",
    "Status",
    "UnsafePathError",
    "Volume",
    "VolumeError",
    "backup_pieces",
    "copy_backup",
    "read_function",
]
