r"""The utility VM of a parent, cloned: files shared by hard links, everything that differs between layers copied.

``cloneTree`` of hcsshim: folders, reparse points and the boot files that Windows will change are copied through their
backup streams, all other files are linked, and the times of the folders are set again at the end, children first.
"""

from __future__ import annotations

from wclayer.errors import UnsupportedError
from wclayer.formats.transport.names import UTILITY_VM, UTILITY_VM_FILES, is_mutated
from wclayer.formats.volume import BackupRestore, BasicInfo, Status, Volume, copy_backup

__all__ = ["clone_utility_vm", "copy_node"]


def clone_utility_vm(source: Volume, destination: Volume) -> None:
    r"""Make ``UtilityVM`` in ``destination`` and in it a clone of the ``Files`` of the one in ``source``.

    Raises VolumeError when there is one already, when ``source`` has none, and what linking and copying raise.
    """
    if not source.is_whole:
        raise UnsupportedError(
            f"the utility VM in {source.label} holds only what that layer changes",
            hint="import the layers below it in this form too",
        )
    destination.mkdir(UTILITY_VM)
    source.ensure_not_reparse_point(UTILITY_VM_FILES)
    folders: list[tuple[str, BasicInfo]] = []
    for status in source.walk(UTILITY_VM_FILES):
        # The clone is called what the reference calls it, however the parent spells the two folders.
        path = UTILITY_VM_FILES + status.path[len(UTILITY_VM_FILES) :]
        if status.is_directory:
            folders.append((path, status.basic))
        if status.is_directory or status.is_reparse_point or is_mutated(path):
            copy_node(source, status, destination, path)
        elif not destination.link(source, status.path, path):
            detail = "the file system cannot link it to the parent's; it was copied"
            destination.notices.add("link-copied", path, detail)
            copy_node(source, status, destination, path)
    for path, basic in reversed(folders):
        destination.set_basic(destination.lstat(path), basic)


def copy_node(source: Volume, status: Status, destination: Volume, path: str) -> None:
    """Copy the file or folder ``status`` of ``source`` to the new name ``path``, through its backup stream."""
    if status.is_directory:
        destination.mkdir(path)
        node = destination.open_folder(path)
    else:
        node = destination.create(path)
    try:
        node.set_basic(status.basic)
        restore = BackupRestore(node, security=True)
        copy_backup(source, status, restore.write, security=True)
        restore.close()
        node.close()
    except BaseException:
        node.abandon()
        raise
