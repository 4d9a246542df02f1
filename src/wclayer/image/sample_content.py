"""The three layers of the sample image: everything that a Windows layer can hold, and nothing of Microsoft.

``Files/Sample`` shows one kind of metadata in each folder. The base layer has what Windows asks of a base: the five
registry hives and a utility VM with its boot configuration. The middle and the top layer change it: they replace,
delete, recreate and link across layers. Every byte is fixed.
"""

from __future__ import annotations

import hashlib
from typing import Final

from wclayer.image.sample_builder import FILE_SDDL, FOLDER_SDDL, LayerBuilder
from wclayer.image.sample_hives import base_hives, boot_configuration, middle_deltas, top_deltas
from wclayer.model import LayerItem
from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_NOT_CONTENT_INDEXED,
    FILE_ATTRIBUTE_OFFLINE,
    FILE_ATTRIBUTE_PINNED,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_ATTRIBUTE_TEMPORARY,
    FILE_ATTRIBUTE_UNPINNED,
)
from wclayer.ntfs.ea import FILE_NEED_EA, ExtendedAttribute
from wclayer.ntfs.filetime import from_text
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build

__all__ = ["LONG_FOLDER", "base_items", "middle_items", "top_items"]

_BASE_EPOCH: Final = from_text("2022-02-01T00:00:00.1234567Z")
_MIDDLE_EPOCH: Final = from_text("2022-06-01T00:00:00.7654321Z")
_TOP_EPOCH: Final = from_text("2022-10-01T00:00:00.0000019Z")

_LICENSE: Final = """\
This image was made by wclayer as a sample. It holds no file of Microsoft Windows and nothing in it can run:
its hives, descriptors and links are made up, so that they can be given to anyone.
Licensed under the Apache License, Version 2.0.
"""

#: A folder whose path is longer than the 260 characters of MAX_PATH, with a component of more than 100 bytes.
LONG_FOLDER: Final = "/".join(
    (
        "Files/Sample/Long",
        "a folder name that alone is longer than the one hundred bytes that the name field of a tar header can hold",
        "第二层文件夹的名字用汉字写成每个字在层里占三个字节所以很快就超过一百个字节",
        "and once more so that the whole path leaves the limit of 260 characters well behind it",
        "x" * 60,
    )
)

_HIDDEN_SYSTEM: Final = FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_SYSTEM | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED


def base_items() -> list[LayerItem]:
    """The base layer: the whole tree, five hives, a utility VM; parents first, in the order of an export."""
    layer = LayerBuilder(_BASE_EPOCH)
    layer.folders("Files", "Files/Sample", "Files/Users", "Files/Users/Default", "Files/Users/Public")
    layer.file("Files/License.txt", _LICENSE)
    layer.folder("Files/ProgramData", attributes=FILE_ATTRIBUTE_HIDDEN | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED)
    layer.junction("Files/Documents and Settings", "C:\\Users", attributes=_HIDDEN_SYSTEM)
    layer.symlink("Files/Users/All Users", "C:\\ProgramData", directory=True)
    layer.junction("Files/Users/Default User", "C:\\Users\\Default", attributes=_HIDDEN_SYSTEM)
    _windows(layer)
    _attributes(layer)
    _times(layer)
    _security(layer)
    _extended_attributes(layer)
    _streams(layer)
    _links(layer)
    _data(layer)
    _names(layer)
    _to_be_changed(layer)
    layer.folder("Hives", sddl=None)
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    layer.folders("UtilityVM", "UtilityVM/Files", "UtilityVM/Files/EFI", "UtilityVM/Files/EFI/Microsoft", boot)
    layer.file(f"{boot}/BCD", boot_configuration(_BASE_EPOCH))
    return layer.items()


def _windows(layer: LayerBuilder) -> None:
    config = "Files/Windows/System32/config"
    layer.folders("Files/Windows", "Files/Windows/System32", config)
    layer.file("Files/Windows/notes.txt", "The base layer spells its folder Windows.\n")
    for name, hive in base_hives(_BASE_EPOCH):
        layer.file(f"{config}/{name}", hive, sddl="O:BAG:SYD:P(A;;FA;;;BA)(A;;FA;;;SY)")


def _attributes(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Attributes"
    layer.folder(folder)
    for name, attributes in (
        ("archive", FILE_ATTRIBUTE_ARCHIVE),
        ("hidden", FILE_ATTRIBUTE_HIDDEN),
        ("none", 0),
        ("normal", FILE_ATTRIBUTE_NORMAL),
        ("not content indexed", FILE_ATTRIBUTE_NOT_CONTENT_INDEXED | FILE_ATTRIBUTE_ARCHIVE),
        ("offline", FILE_ATTRIBUTE_OFFLINE),
        ("pinned", FILE_ATTRIBUTE_PINNED | FILE_ATTRIBUTE_ARCHIVE),
        ("readonly", FILE_ATTRIBUTE_READONLY),
        ("system", FILE_ATTRIBUTE_SYSTEM),
        ("temporary", FILE_ATTRIBUTE_TEMPORARY),
        ("unpinned", FILE_ATTRIBUTE_UNPINNED | FILE_ATTRIBUTE_ARCHIVE),
        ("all four", 0x27),
    ):
        layer.file(f"{folder}/{name}.txt", f"attributes 0x{attributes:08x}\n", attributes=attributes)
    layer.folder(f"{folder}/hidden system folder", attributes=_HIDDEN_SYSTEM)
    layer.folder(f"{folder}/readonly folder", attributes=FILE_ATTRIBUTE_READONLY)


def _times(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Times"
    layer.folder(folder)
    for name, texts in (
        (
            "whole seconds",
            ("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z", "2020-01-03T00:00:00Z", "2020-01-04T00:00:00Z"),
        ),
        (
            "before 1970",
            ("1953-06-01T12:00:00Z", "1969-12-31T23:59:59.5Z", "1953-06-02T00:00:00.0000001Z", "1969-12-31T23:59:58Z"),
        ),
        (
            "after 2242",
            ("2242-03-16T12:56:32Z", "2250-01-01T00:00:00.1Z", "2260-12-31T23:59:59.9999999Z", "2245-07-01T06:00:00Z"),
        ),
        (
            "at the epoch",
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.0000001Z", "1970-01-01T00:00:01Z", "1970-01-01T00:00:00.1Z"),
        ),
    ):
        created, accessed, written, changed = map(from_text, texts)
        layer.file(f"{folder}/{name}.txt", f"{name}\n", times=(created, accessed, written, changed))


def _security(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Security"
    layer.folder(folder)
    for name, sddl in (
        ("as inherited", "O:BAG:SYD:AI(A;ID;FA;;;BA)(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)"),
        ("audited", "O:BAG:SYD:(A;;FA;;;BA)S:(AU;SAFA;DCLCRPCRSDWDWO;;;WD)"),
        ("by a service", "O:S-1-5-80-1-2-3-4-5G:S-1-5-80-1-2-3-4-5D:P(A;;FA;;;S-1-5-80-1-2-3-4-5)(A;;0x1200a9;;;BU)"),
        ("conditional", "O:BAG:SYD:(XA;;FA;;;BU;(Member_of {SID(BA)}))"),
        ("denied", "O:BAG:SYD:(D;;FW;;;AN)(D;;FW;;;BG)(A;;FA;;;BA)(A;;FR;;;WD)"),
        ("empty list", "O:BAG:SYD:P"),
        ("everyone", "O:SYG:SYD:(A;;0x1f01ff;;;WD)"),
        ("labelled", "O:BAG:SYD:(A;;FA;;;BA)S:(ML;;NW;;;LW)"),
        ("no list", "O:BAG:BA"),
        ("null list", "O:BAG:SYD:NO_ACCESS_CONTROL"),
        ("packages", "O:BAG:SYD:PAI(A;;FA;;;SY)(A;;0x1200a9;;;AC)(A;;0x1200a9;;;S-1-15-2-2)"),
        ("resource attribute", 'O:BAG:SYD:(A;;FA;;;BA)S:(RA;;;;;WD;("Project",TS,0,"sample"))'),
    ):
        layer.file(f"{folder}/{name}.txt", f"{sddl}\n", sddl=sddl)
    lists_first = build(from_sddl(FILE_SDDL), "acl-first")
    layer.file(
        f"{folder}/lists first.txt", "as Windows makes it from SDDL\n", sddl=None, security_descriptor=lists_first
    )
    layer.file(f"{folder}/empty descriptor.txt", "not the same as none\n", sddl=None, security_descriptor=b"")
    layer.file(f"{folder}/no descriptor.txt", "no descriptor at all\n", sddl=None)
    layer.file(f"{folder}/raw.txt", "bytes, not SDDL\n", sddl=None, security_descriptor=_owner_last())
    layer.folder(f"{folder}/auto inherited", sddl=FOLDER_SDDL.replace("D:", "D:AI"))
    layer.folder(f"{folder}/protected", sddl="O:SYG:SYD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)")


def _owner_last() -> bytes:
    """``O:BAG:SYD:(A;;FA;;;BA)`` as no common program lays it out: group, list, owner (allowed by MS-DTYP 2.4.6)."""
    administrators = bytes.fromhex("01020000000000052000000020020000")
    system = bytes.fromhex("010100000000000512000000")
    access_list = bytes.fromhex("0200200001000000 00001800ff011f00") + administrators
    head = bytes.fromhex("01000480") + b"".join(number.to_bytes(4, "little") for number in (64, 20, 0, 32))
    return head + system + access_list + administrators


def _extended_attributes(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Extended attributes"
    one = ExtendedAttribute(b"SAMPLE", b"one")
    layer.folder(folder, extended_attributes=(ExtendedAttribute(b"SAMPLE.FOLDER", b"folders have them too"),))
    layer.file(f"{folder}/one.txt", "one\n", extended_attributes=(one,))
    layer.file(
        f"{folder}/several.txt",
        "an empty value, a binary one, and those that name an owner on Linux\n",
        extended_attributes=(
            ExtendedAttribute(b"$LXGID", (1000).to_bytes(4, "little")),
            ExtendedAttribute(b"$LXMOD", (0o100644).to_bytes(4, "little")),
            ExtendedAttribute(b"$LXUID", (1000).to_bytes(4, "little")),
            ExtendedAttribute(b"SAMPLE.BINARY", bytes(range(256))),
            ExtendedAttribute(b"SAMPLE.EMPTY", b""),
        ),
    )
    # A layer tar has no place for the flag; a reader of one sees 0.
    needed = ExtendedAttribute(b"SAMPLE.NEEDED", b"must be understood", FILE_NEED_EA)
    layer.file(f"{folder}/needed.txt", "needed\n", extended_attributes=(one, needed))


def _streams(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Streams"
    layer.folder(folder)
    zone = "[ZoneTransfer]\r\nZoneId=3\r\n"
    layer.file(f"{folder}/downloaded.txt", "from afar\n", streams=(("Zone.Identifier", zone),))
    layer.file(
        f"{folder}/several.txt",
        "the main stream\n",
        streams=(("empty", b""), ("first", "1\n"), ("second one", _noise(5000)), ("流", "日本語\n")),
    )
    layer.file(f"{folder}/only beside.txt", b"", streams=(("all there is", "the main stream is empty\n"),))


def _links(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Links"
    layer.folder(folder)
    layer.file(f"{folder}/original.txt", "three names in this layer, more in those above\n")
    layer.hard_link(f"{folder}/second name.txt", f"{folder}/original.txt")
    layer.hard_link("Files/Users/Public/third name.txt", f"{folder}/original.txt")
    layer.symlink(f"{folder}/to a file, relative", "original.txt")
    layer.symlink(f"{folder}/to a file above, relative", "..\\..\\License.txt")
    layer.symlink(f"{folder}/to a file, absolute", "C:\\Sample\\Links\\original.txt")
    layer.symlink(f"{folder}/to a file, rooted", "\\License.txt")
    layer.symlink(f"{folder}/to a folder, relative", "..\\Streams", directory=True)
    layer.symlink(f"{folder}/to a folder, absolute", "C:\\Sample\\Streams", directory=True)
    layer.symlink(f"{folder}/to a share", "\\\\server\\share\\folder", directory=True)
    layer.symlink(f"{folder}/to nothing", "nowhere.txt")
    layer.symlink(f"{folder}/zu Ümläuten", "..\\Names\\Grüße aus Köln.txt")
    layer.junction(f"{folder}/junction", "C:\\Sample\\Data")


def _data(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Data"
    layer.folder(folder)
    layer.file(f"{folder}/no stream.txt", None)
    layer.file(f"{folder}/empty stream.txt", b"")
    layer.file(f"{folder}/one byte.bin", b"\x01")
    layer.file(f"{folder}/one block.bin", _noise(512))
    layer.file(f"{folder}/noise.bin", _noise(100_000))
    layer.file(f"{folder}/zeros.bin", bytes(1 << 20))
    # A layer tar has no place for holes, so this one is written out in full.
    layer.sparse_file(f"{folder}/sparse.bin", 1 << 20, ((65_536, _noise(4096)), (524_288, b"in the middle")))


def _names(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Names"
    layer.folder(folder)
    for name in (
        "Grüße aus Köln.txt",
        "straße.txt",
        "你好，世界.txt",
        "日本語のファイル名.txt",
        "한국어.txt",
        "русский.txt",
        "עברית.txt",
        "🐟 and 👩‍🚀.txt",
        "e\u0301 in two characters.txt",
        "é in one character.txt",
        " a space before it",
        ".hidden nowhere but on Unix",
        "no extension",
        "two.dots.txt",
        "~$%&'()+,-;=@[]^_`{}!#.txt",
    ):
        layer.file(f"{folder}/{name}", f"{name}\n")
    path = "Files/Sample/Long"
    layer.folder(path)
    for component in LONG_FOLDER.removeprefix(f"{path}/").split("/"):
        path = f"{path}/{component}"
        layer.folder(path)
    layer.file(f"{path}/file.txt", f"{len(path)} characters lead here\n", streams=(("stream", "and one more\n"),))
    layer.symlink(f"{path}/link", "C:\\" + LONG_FOLDER.removeprefix("Files/").replace("/", "\\") + "\\file.txt")


def _to_be_changed(layer: LayerBuilder) -> None:
    folder = "Files/Sample/Changed"
    layer.folders(folder, f"{folder}/deleted folder", f"{folder}/deleted folder/inner", f"{folder}/recreated folder")
    layer.file(f"{folder}/deleted file.txt", "the middle layer deletes this\n")
    layer.file(f"{folder}/deleted folder/inner/file.txt", "the middle layer deletes the folder\n")
    layer.file(f"{folder}/file, then folder", "a file in the base, deleted in the middle, a folder in the top\n")
    layer.file(f"{folder}/only metadata.txt", "the top layer changes attributes and descriptor, not this text\n")
    layer.file(f"{folder}/recreated folder/from the base.txt", "must not shine through\n")
    layer.file(f"{folder}/replaced.txt", "the base\n", streams=(("base", "gone once the file is replaced\n"),))


def middle_items() -> list[LayerItem]:
    """The first layer on the base: replaces, deletes, links to the base, spells a folder of it in another case."""
    layer = LayerBuilder(_MIDDLE_EPOCH)
    folder = "Files/Sample/Changed"
    layer.folders("Files", "Files/Sample", folder, "Files/windows")
    layer.file("Files/windows/notes.txt", "The middle layer spells its folder windows; it is the same folder.\n")
    for name in ("deleted file.txt", "deleted folder", "file, then folder", "recreated folder"):
        layer.tombstone(f"{folder}/{name}")
    layer.file(f"{folder}/replaced.txt", "the middle\n", attributes=FILE_ATTRIBUTE_HIDDEN)
    layer.folder("Files/Sample/Links")
    layer.hard_link("Files/Sample/Links/of the base.txt", "Files/License.txt")
    layer.file("Files/Sample/Links/own.txt", "the top layer gives this another name\n")
    layer.folder("Files/Sample/Short-lived")
    layer.file("Files/Sample/Short-lived/file.txt", "the top layer deletes this\n")
    _delta_hives(layer, middle_deltas(_MIDDLE_EPOCH))
    return layer.items()


def top_items() -> list[LayerItem]:
    """The layer on the middle one: recreates, changes metadata only, links to both layers below, deletes of both."""
    layer = LayerBuilder(_TOP_EPOCH)
    folder = "Files/Sample/Changed"
    layer.folders("Files", "Files/Sample", folder, f"{folder}/recreated folder", f"{folder}/file, then folder")
    layer.file(f"{folder}/recreated folder/from the top.txt", "all there is\n")
    layer.file(f"{folder}/file, then folder/file.txt", "a folder in the end\n")
    layer.file(
        f"{folder}/only metadata.txt",
        "the top layer changes attributes and descriptor, not this text\n",
        attributes=FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_ARCHIVE,
        sddl=FILE_SDDL.replace("D:", "D:P"),
    )
    layer.folder("Files/Sample/Links")
    layer.hard_link("Files/Sample/Links/of the base again.txt", "Files/Sample/Links/original.txt")
    layer.hard_link("Files/Sample/Links/of the middle.txt", "Files/Sample/Links/own.txt")
    layer.tombstone("Files/Sample/Short-lived")
    layer.tombstone("Files/Sample/Links/to nothing")
    _delta_hives(layer, top_deltas(_TOP_EPOCH))
    return layer.items()


def _delta_hives(layer: LayerBuilder, hives: list[tuple[str, bytes]]) -> None:
    """``Hives`` and what is in it. An export reads these without descriptors."""
    layer.folder("Hives", sddl=None)
    for name, hive in hives:
        layer.file(f"Hives/{name}", hive, sddl=None)


def _noise(size: int) -> bytes:
    """Bytes that no compressor shortens, the same ones always."""
    blocks = (hashlib.sha256(number.to_bytes(4, "little")).digest() for number in range(-(-size // 32)))
    return b"".join(blocks)[:size]
