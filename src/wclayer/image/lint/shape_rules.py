"""Rules about the shape of a layer: which entries there are, in which order, under which names."""

from __future__ import annotations

from wclayer.image.lint.rules import Rule

__all__ = ["NAMES", "SHAPE"]

_LEGACY = "hcsshim internal/wclayer/legacy.go"
_OCIWCLAYER = "hcsshim pkg/ociwclayer"
_SAFEFILE = "hcsshim internal/safefile"
_BACKUPTAR = "go-winio backuptar"

SHAPE = (
    Rule(
        "not-a-windows-layer",
        "error",
        "nothing in it lies below Files, Hives or UtilityVM; ProcessBaseLayer finds no path (0x3), or creating a file"
        " fails (0x1f)",
        "this is a layer of another system, or plain files without the Files/ prefix: build it for windows",
        ("hcsshim#2226", "docker/for-win#2422", "moby#35668"),
    ),
    Rule(
        "no-files-root",
        "error",
        "the folder Files has no entry of its own, so nothing below it can be made",
        "write a folder entry Files before everything below it",
        ("hcsshim#1688", _LEGACY),
    ),
    Rule(
        "no-hives-root",
        "error",
        "an upper layer without the folder Hives; ImportLayer wants both roots",
        "write a folder entry Hives, empty if need be",
        ("buildkit util/winlayers", "go-containerregistry internal/windows"),
    ),
    Rule(
        "root-spelling",
        "error",
        "hcsshim compares Files, Hives and UtilityVM with regard to case; spelt otherwise they are ordinary names",
        "spell them Files, Hives and UtilityVM",
        (_LEGACY,),
    ),
    Rule(
        "top-level-entry",
        "warning",
        "beside Files, Hives and UtilityVM nothing belongs in a layer; what ImportLayer does with it is not known",
        "put it below Files, or leave it out",
        ("go-containerregistry#1909", _LEGACY),
    ),
    Rule(
        "tombstones-txt",
        "error",
        "hcsshim removes a tombstones.txt that comes in a tar before the import, so nothing in it is deleted",
        "write whiteouts, Files/…/.wh.NAME",
        ("CVE-2018-8115", _LEGACY),
    ),
    Rule(
        "sidecar-name",
        "error",
        "names that end in .$wcidirs$ are those of the files that hold the metadata of folders during an import",
        "rename it",
        (_LEGACY,),
    ),
    Rule(
        "files-in-files",
        "warning",
        "Files/Files is C:\\Files: the prefix was most likely added twice",
        "add the Files/ prefix once",
        ("go-containerregistry#1909",),
    ),
    Rule(
        "parent-missing",
        "error",
        "a folder on the way to the entry has no entry of its own in this layer; opening the entry fails with 0x3",
        "write an entry for every folder on the way, even if a lower layer has it",
        ("hcsshim#1688", _SAFEFILE),
    ),
    Rule(
        "parent-after-child",
        "error",
        "the entry of a folder comes after entries in it; they fail with 0x3",
        "write folders before what is in them",
        ("hcsshim#1688",),
    ),
    Rule(
        "below-file",
        "error",
        "the entry lies below something that is no folder",
        "the layer is damaged: write it again",
        (_SAFEFILE,),
    ),
    Rule(
        "below-reparse-point",
        "error",
        "the entry lies below a symbolic link or a junction; hcsshim refuses to write through one",
        "put it where the link leads",
        ("CVE-2018-8115", _LEGACY),
    ),
    Rule(
        "duplicate-entry",
        "error",
        "the path comes twice; files are created exclusively, so the second one fails",
        "write each path once",
        ("go-containerregistry#1909", _LEGACY),
    ),
    Rule(
        "case-collision",
        "error",
        "NTFS takes the two names for one, and files are created exclusively",
        "rename one of them",
        (_LEGACY,),
    ),
    Rule(
        "entry-type",
        "error",
        "a device or a pipe, of which hcsshim makes an empty file",
        "leave it out",
        (_BACKUPTAR,),
    ),
    Rule(
        "entry-without-data",
        "warning",
        "entries of this type (contiguous, old GNU sparse) are imported without their data",
        "write it as an ordinary file",
        (_BACKUPTAR,),
    ),
    Rule(
        "archive-malformed",
        "error",
        "the tar cannot be read any further; hcsshim fails here, and imports what came before",
        "the archive is damaged: write it again",
        (_OCIWCLAYER,),
    ),
    Rule(
        "global-header",
        "warning",
        "hcsshim makes a file of a global PAX header, which at the top of a layer breaks the import",
        "write the tar without global headers (git archive adds one)",
        (_OCIWCLAYER, "go-containerregistry#1111"),
    ),
)

NAMES = (
    Rule(
        "name-absolute",
        "error",
        "the name begins with a separator or names a drive: 'expected relative path'",
        "write names relative to the layer, beginning with Files/",
        (_SAFEFILE,),
    ),
    Rule(
        "name-dot",
        "warning",
        "the name begins with ./ or holds a . component; hcsshim compares some names before it cleans them, and then"
        " does not know UtilityVM or the boot configuration",
        "write names without ./ (tar: --transform, or name Files and Hives instead of .)",
        (_LEGACY,),
    ),
    Rule(
        "name-parent",
        "error",
        "a .. component, which could leave the layer; Windows does not understand it",
        "write clean names",
        ("go-containerregistry#2355", _SAFEFILE),
    ),
    Rule(
        "name-backslash",
        "warning",
        "the name holds a backslash, which separates folders on Windows",
        "write / between folders",
        (_SAFEFILE,),
    ),
    Rule(
        "name-illegal",
        "error",
        'the name holds a character that NTFS refuses: < > " | ? * or a control character',
        "rename it",
        ("MS-FSCC 2.1.5",),
    ),
    Rule(
        "name-reserved",
        "warning",
        "the name is legal in NTFS, but Win32 programs cannot open it: a device name, or a dot or space at its end;"
        " deleting or copying it fails with 0x5 or 0x2",
        "rename it",
        ("docker/for-win#921",),
    ),
    Rule(
        "name-not-unicode",
        "error",
        "the name is no UTF-8; Windows gets other characters",
        "write names in UTF-8",
        (_BACKUPTAR,),
    ),
    Rule(
        "component-too-long",
        "error",
        "a file or folder name of more than 255 UTF-16 units (0xCE, 0x7B)",
        "shorten it",
        ("MS-FSCC 2.1.5", "moby#22449"),
    ),
    Rule(
        "path-too-long",
        "error",
        "a path of more than 32767 UTF-16 units",
        "shorten it",
        (_SAFEFILE,),
    ),
    Rule(
        "path-long",
        "note",
        "as C:\\… it has 260 characters or more, which programs without long-path support cannot open",
        "shorten it, if such programs have to",
        ("hcsshim#285", "moby#23976"),
    ),
)
