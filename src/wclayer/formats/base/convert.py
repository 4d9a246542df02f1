r"""``ConvertToBaseLayer``: a folder with ``Files`` becomes what Windows can process to a base layer.

The five hives must be there. hcsshim saves empty ones in any case and therefore fails when there are some; here those
that are missing are made, and those that exist are kept and looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from wclayer.errors import FormatError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.transport.names import BCD, UTILITY_VM, UTILITY_VM_FILES
from wclayer.formats.volume import Volume, VolumeError
from wclayer.regf import minimal_hive

__all__ = ["CONFIG", "HIVE_NAMES", "convert_to_base_layer"]

CONFIG = "Files\\Windows\\System32\\config"
HIVE_NAMES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")


def convert_to_base_layer(
    layer: Volume,
    process_base_image: Callable[[Volume], None],
    process_utility_image: Callable[[Volume], None],
) -> list[str]:
    """Make the hives that are missing, check the utility VM, and have both processed; returns the hives made.

    Raises FormatError for a hive that is no file and for a utility VM without its boot configuration, VolumeError.
    """
    try:
        layer.mkdir_all(CONFIG)
        made = [name for name in HIVE_NAMES if _make_hive(layer, f"{CONFIG}\\{name}")]
        has_utility_vm = _check_utility_vm(layer)
        process_base_image(layer)
        if has_utility_vm:
            layer.ensure_not_reparse_point(UTILITY_VM)
            process_utility_image(layer)
    except WclayerError as error:
        error.message = f"hcsshim::ConvertToBaseLayer - failed: {error.message}"
        error.args = (error.message,)
        raise
    return made


def _make_hive(layer: Volume, path: str) -> bool:
    try:
        status = layer.lstat(path)
    except VolumeError as error:
        if not error.is_missing:
            error.message = f"accessing {path}: {error.message}"
            raise
    else:
        if status.is_directory or status.is_reparse_point:
            raise FormatError(f"{path} is no ordinary file", kind="base-layer", path=path)
        return False
    node = layer.create(path)
    try:
        hive = memoryview(minimal_hive(path.rpartition("\\")[2]))
        while hive:
            hive = hive[os.write(node.descriptor, hive) :]
        node.close()
    except OSError as error:
        raise store_error(error, f"saving hive: {path}", node.host, layer.label) from error
    finally:
        node.abandon()
    return True


def _check_utility_vm(layer: Volume) -> bool:
    try:
        status = layer.lstat(UTILITY_VM_FILES)
    except VolumeError as error:
        if error.is_missing:
            return False
        raise
    if not status.is_directory or status.is_reparse_point:
        raise FormatError(f"{UTILITY_VM_FILES} has unexpected file mode: it is no folder", kind="base-layer")
    try:
        boot = layer.lstat(BCD)
    except VolumeError as error:
        raise FormatError(
            f"UtilityVM must contain 'EFI\\Microsoft\\Boot\\BCD': {error.message}", kind="base-layer"
        ) from error
    if boot.is_directory or boot.is_reparse_point:
        raise FormatError(f"{BCD} has unexpected file mode: it is no ordinary file", kind="base-layer")
    return True
