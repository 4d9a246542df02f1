"""An image that takes about a second to unpack: thousands of small files in three layers that lean on each other."""

from __future__ import annotations

import random
from pathlib import Path

from tests.hostile.images import Layout, packed
from tests.hostile.tars import archive, file, folder, link, whiteout

FILES = 1000  # in each layer


def base_layer() -> bytes:
    """Many small files in many folders, some with alternate streams."""
    dice = random.Random(1)
    members = [folder("Files"), folder("Files/a")]
    for number in range(FILES):
        if number % 25 == 0:
            place = f"Files/a/{number // 25:03}"
            members.append(folder(place))
        members.append(file(f"{place}/{number:05}.bin", dice.randbytes(dice.randrange(3000)), MSWINDOWS_fileattr="32"))
        if number % 50 == 0:
            members.append(file(f"{place}/{number:05}.bin:s", dice.randbytes(dice.randrange(80_000))))
    return archive(*members)


def middle_layer() -> bytes:
    """Replaces some files, deletes some, and links to some in the base."""
    dice = random.Random(2)
    members = [folder("Files"), folder("Files/a"), folder("Files/b")]
    members += [file(f"Files/b/{number:05}.bin", dice.randbytes(dice.randrange(3000))) for number in range(FILES // 2)]
    members += [
        link(f"Files/b/link-{number:05}", f"Files/a/{number // 25:03}/{number:05}.bin")
        for number in range(0, FILES, 10)
    ]
    members += [whiteout(f"Files/a/{number:03}", f"{number * 25 + 1:05}.bin") for number in range(FILES // 25)]
    return archive(*members)


def top_layer() -> bytes:
    """New files, and links to both layers below."""
    dice = random.Random(3)
    members = [folder("Files"), folder("Files/c")]
    members += [file(f"Files/c/{number:05}.bin", dice.randbytes(dice.randrange(3000))) for number in range(FILES // 2)]
    members += [link(f"Files/c/link-{number:05}", f"Files/b/{number:05}.bin") for number in range(0, FILES // 2, 10)]
    members += [
        link(f"Files/c/deep-{number:05}", f"Files/a/{number // 25:03}/{number:05}.bin")
        for number in range(0, FILES, 50)
    ]
    return archive(*members)


def generated_image(folder_path: Path) -> str:
    """The image, as a layout in a folder; returns the reference."""
    layers = [base_layer(), middle_layer(), top_layer()]
    return Layout(layers, blobs=[packed(data) for data in layers]).write(folder_path)
