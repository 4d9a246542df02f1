"""Rules about alternate streams, links and whiteouts."""

from __future__ import annotations

from wclayer.image.lint.rules import Rule

__all__ = ["LINKS", "STREAMS", "WHITEOUTS"]

_LEGACY = "hcsshim internal/wclayer/legacy.go"
_OCIWCLAYER = "hcsshim pkg/ociwclayer"
_SAFEFILE = "hcsshim internal/safefile"
_BACKUPTAR = "go-winio backuptar"

STREAMS = (
    Rule(
        "orphan-stream",
        "error",
        "an alternate stream that does not follow its file: its colon is refused as an invalid character",
        "write NAME:STREAM right after NAME",
        (_BACKUPTAR, _SAFEFILE),
    ),
)

LINKS = (
    Rule(
        "hard-link-outside",
        "error",
        "'invalid hard link in layer': link and target have to lie below Files or UtilityVM/Files",
        "put Files/ in front of the target (crane append leaves it out)",
        (_LEGACY, "go-containerregistry internal/windows"),
    ),
    Rule(
        "hard-link-target",
        "error",
        "'failed to find link target': it is neither in this layer before the link nor in a parent",
        "write the target before the link",
        (_LEGACY, "microsoft/Windows-Containers#493"),
    ),
    Rule(
        "hard-link-unknown",
        "note",
        "the target is not in this layer, and the parents were not given",
        "name the parents with --parent, or lint the whole image",
    ),
    Rule(
        "hard-link-order",
        "error",
        "the target comes after the link; until then a parent's file of that name is taken, or none is found",
        "write the target before the link",
        (_LEGACY,),
    ),
    Rule(
        "hard-link-kind",
        "error",
        "the target is a folder, a symbolic link or a junction, to which NTFS makes no hard link here",
        "link to the file",
        (_SAFEFILE,),
    ),
    Rule(
        "hard-link-count",
        "error",
        "more than 1023 further names of one file: 0x476",
        "write copies",
        ("moby#40511", "microsoft/Windows-Containers#38"),
    ),
    Rule(
        "symlink-prefix",
        "warning",
        "the target begins with Files/, which is right for hard links and wrong for symbolic links: in the container it"
        " leads to C:\\…\\Files\\…",
        "write the target as the container sees it",
        ("buildkit#2239", "buildkit util/winlayers", "buildah"),
    ),
    Rule(
        "symlink-outside",
        "warning",
        "the target leads out of drive C: or above its root",
        "write a target inside of the container",
        ("go-containerregistry#2355",),
    ),
    Rule(
        "reparse-tag",
        "error",
        "a reparse point of a kind that neither a layer tar nor ImportLayer takes (0x3)",
        "replace it with a symbolic link or a junction (Cygwin: CYGWIN=winsymlinks:nativestrict)",
        ("moby#41058", "hcsshim#835", "hcsshim#879"),
    ),
)

WHITEOUTS = (
    Rule(
        "whiteout-opaque",
        "error",
        "opaque whiteouts mean nothing to Windows: a deletion of a file called .wh..opq",
        "write a whiteout for each name of the folder",
        (_OCIWCLAYER,),
    ),
    Rule(
        "whiteout-nameless",
        "error",
        "a whiteout without a name, or of . or .., which would delete a folder above",
        "leave it out",
        (_OCIWCLAYER,),
    ),
    Rule(
        "whiteout-slash",
        "warning",
        "a whiteout whose name ends in a slash: hcsshim computes a/.wh.b/b from a/.wh.b/",
        "write it as a file",
        (_OCIWCLAYER,),
    ),
    Rule(
        "whiteout-outside",
        "error",
        "'invalid tombstone': only what lies below Files or UtilityVM/Files can be deleted",
        "leave it out",
        (_LEGACY,),
    ),
    Rule(
        "whiteout-in-base",
        "error",
        "'base layer cannot have tombstones'",
        "leave it out",
        ("hcsshim internal/wclayer/baselayerwriter.go",),
    ),
    Rule(
        "whiteout-of-own-entry",
        "error",
        "the layer deletes what it also holds: a file ends up deleted, a folder fails the import",
        "leave out one of the two",
        (_LEGACY,),
    ),
    Rule(
        "whiteout-of-nothing",
        "note",
        "no parent has what is deleted; below UtilityVM this fails the import",
        "leave it out",
        (_LEGACY,),
    ),
)
