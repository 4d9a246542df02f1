"""Images copied from any place to any other: registries, layouts, archives, folders, the content store."""

from wclayer.image.copying.copying import CopiedBlob, CopyOptions, CopyResult, copy_image

__all__ = ["CopiedBlob", "CopyOptions", "CopyResult", "copy_image"]
