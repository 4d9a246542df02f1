"""Windows container image layers without Windows: every NTFS detail kept, every digest reproducible.

The names below are loaded when they are first used, so ``import wclayer`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names
from wclayer._version import __version__

if TYPE_CHECKING:
    from wclayer.errors import (
        DigestMismatchError,
        FormatError,
        IntegrityError,
        LimitError,
        NotFoundError,
        StoreError,
        UnsafeEntryError,
        UnsupportedError,
        UsageError,
        WclayerError,
    )
    from wclayer.formats.folder import (
        LayerFolder,
        LayerFolderReader,
        LayerFolderWriter,
    )
    from wclayer.formats.tar import (
        TarLayerReader,
        TarLayerWriter,
    )
    from wclayer.image.exporting import (
        ExportedLayer,
        export_layer,
    )
    from wclayer.image.extract import (
        Extracted,
        extract,
    )
    from wclayer.image.flatten import (
        MergeResult,
        unpack_merged,
    )
    from wclayer.image.importing import (
        ImportedLayer,
        import_layer,
    )
    from wclayer.image.inspecting import (
        inspect,
    )
    from wclayer.image.sample import (
        make_sample,
    )
    from wclayer.image.target import (
        open_view,
    )
    from wclayer.image.unpack import (
        UnpackOptions,
        UnpackResult,
        unpack,
    )
    from wclayer.image.verifying import (
        Verdict,
        verify,
    )
    from wclayer.image.view import (
        Found,
        View,
    )
    from wclayer.model import (
        AlternateStream,
        Entry,
        HardLink,
        LayerChain,
        LayerItem,
        LayerReader,
        LayerWriter,
        Metadata,
        Notice,
        Notices,
        Stream,
        Tombstone,
        copy_layer,
    )
    from wclayer.oci import (
        Digest,
        Image,
        Limits,
        open_image,
    )

__all__ = [
    "AlternateStream",
    "Digest",
    "DigestMismatchError",
    "Entry",
    "ExportedLayer",
    "Extracted",
    "FormatError",
    "Found",
    "HardLink",
    "Image",
    "ImportedLayer",
    "IntegrityError",
    "LayerChain",
    "LayerFolder",
    "LayerFolderReader",
    "LayerFolderWriter",
    "LayerItem",
    "LayerReader",
    "LayerWriter",
    "LimitError",
    "Limits",
    "MergeResult",
    "Metadata",
    "NotFoundError",
    "Notice",
    "Notices",
    "StoreError",
    "Stream",
    "TarLayerReader",
    "TarLayerWriter",
    "Tombstone",
    "UnpackOptions",
    "UnpackResult",
    "UnsafeEntryError",
    "UnsupportedError",
    "UsageError",
    "Verdict",
    "View",
    "WclayerError",
    "__version__",
    "copy_layer",
    "export_layer",
    "extract",
    "import_layer",
    "inspect",
    "make_sample",
    "open_image",
    "open_view",
    "unpack",
    "unpack_merged",
    "verify",
]

# Where each public name lives. A name stands here, in __all__ and in the imports for type checkers above.
_HOMES = {
    "wclayer.errors": (
        "DigestMismatchError",
        "FormatError",
        "IntegrityError",
        "LimitError",
        "NotFoundError",
        "StoreError",
        "UnsafeEntryError",
        "UnsupportedError",
        "UsageError",
        "WclayerError",
    ),
    "wclayer.formats.folder": ("LayerFolder", "LayerFolderReader", "LayerFolderWriter"),
    "wclayer.formats.tar": ("TarLayerReader", "TarLayerWriter"),
    "wclayer.image.exporting": ("ExportedLayer", "export_layer"),
    "wclayer.image.extract": ("Extracted", "extract"),
    "wclayer.image.flatten": ("MergeResult", "unpack_merged"),
    "wclayer.image.importing": ("ImportedLayer", "import_layer"),
    "wclayer.image.inspecting": ("inspect",),
    "wclayer.image.sample": ("make_sample",),
    "wclayer.image.target": ("open_view",),
    "wclayer.image.unpack": ("UnpackOptions", "UnpackResult", "unpack"),
    "wclayer.image.verifying": ("Verdict", "verify"),
    "wclayer.image.view": ("Found", "View"),
    "wclayer.model": (
        "AlternateStream",
        "Entry",
        "HardLink",
        "LayerChain",
        "LayerItem",
        "LayerReader",
        "LayerWriter",
        "Metadata",
        "Notice",
        "Notices",
        "Stream",
        "Tombstone",
        "copy_layer",
    ),
    "wclayer.oci": ("Digest", "Image", "Limits", "open_image"),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
