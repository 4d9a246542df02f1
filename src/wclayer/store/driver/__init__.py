"""The graph driver ``windowsfilter``: layers as Docker's driver on Windows keeps them, on any POSIX system."""

from wclayer.store.driver.differing import Change, ChangeKind
from wclayer.store.driver.driver import Applied, WindowsFilterDriver
from wclayer.store.driver.mounting import FolderMounts, LayerMounts, MergedMounts
from wclayer.store.driver.removal import Removed

__all__ = [
    "Applied",
    "Change",
    "ChangeKind",
    "FolderMounts",
    "LayerMounts",
    "MergedMounts",
    "Removed",
    "WindowsFilterDriver",
]
