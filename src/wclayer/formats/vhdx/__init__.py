"""VHDX disks: reading them over their parents, making them, changing their size and the place of their parent."""

from wclayer.formats.vhdx.change import rebase_vhdx, resize_vhdx
from wclayer.formats.vhdx.create import create_vhdx, new_vhdx
from wclayer.formats.vhdx.disk import VhdxDisk
from wclayer.formats.vhdx.writer import VhdxWriter

__all__ = ["VhdxDisk", "VhdxWriter", "create_vhdx", "new_vhdx", "rebase_vhdx", "resize_vhdx"]
