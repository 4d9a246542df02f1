"""Where the package does better than the reference on purpose: rules with a name and a reason, counted when used."""

from __future__ import annotations

from collections import Counter

__all__ = ["REASONS", "Rules"]

REASONS = {
    "bcd-copied": "the boot files that Windows changes in place are copied from the parent's utility VM; the reference "
    "looks for them under names that never match and links them",
    "sparse-exported": "a sparse file of a transport folder is exported with its content; the reference stops at "
    "'unknown stream ID 9'",
    "crash-refused": "input on which the reference crashes is refused with an error",
    "no-partial-import": "after an error nothing is imported and nothing is left; the reference imports what it has",
    "tombstones-strict": "a line of tombstones.txt that is no plain path with a leading backslash is refused; the "
    "reference drops its first character, whatever it is, and cleans the rest",
    "folder-name-normalised": "a slash at the end of UtilityVM or UtilityVM/Files does not hide the utility VM",
    "trailing-blank-lines": "blank lines at the end of tombstones.txt do no harm; the reference crashes",
    "tombstone-folder-case": "a deletion is placed in its folder however its line spells the folder; the reference "
    "loses it when the letters differ in case",
    "link-name-normalised": "the name of a hard link is cleaned before it is looked at: ./Files/x lies below Files, "
    "Files/../x does not; the reference looks at the name unread",
    "short-link-name": "a hard link with a name of one character is made; the reference gives Windows a buffer that is "
    "two bytes too short for it",
    "sidecar-refused": "a folder whose name ends like a sidecar's is refused; the reference walks into it",
    "last-entry-noticed": "the content of an entry that has no file is an error wherever it comes; the reference loses "
    "that error when the tar ends there",
    "files-reparse-refused": "a base layer whose Files is a reparse point is refused; the reference has it processed",
    "backup-made-anew": "the copy of a boot file is a new file, whatever the layer has under its name; the reference "
    "writes into that, through a link too",
    "relative-refused": "a relative path has no long form here; the reference puts the current folder before it",
    "ea-order": "the extended attributes of a file come in the order of the tar; in the reference in any order",
    "reparse-short-refused": "a link whose names lie outside its buffer is refused; the reference reads what it finds",
    "stream-size-refused": "a backup stream that claims 2^63 bytes or more, or a name of an odd length, is refused; "
    "the reference takes it for less",
    "block-container": "an image in a block device or a single file is refused with the command that writes it on "
    "Windows, for its layout is not public; what goes into it is compared",
    "cim-streams-kept": "alternate streams go into an image under any spelling of their names; the reference refuses "
    "the names that every writer of layers uses, which do not end in :$DATA, and stumbles over the data of the others",
    "std-stream-refused": "a stream of a file that is kept beside the image is refused; the reference means to, but "
    "looks at the name with the stream and never finds it",
    "std-folder-refused": "a folder under the name of a file that is kept beside the image is refused; the reference "
    "makes a file there",
    "base-deltas-kept": "a base layer may bring changes of hives; the reference cannot make the folder Hives then",
    "hive-from-below": "the hive to merge with is that of the nearest layer that has it; the reference asks the parent "
    "alone",
    "cim-name-normalised": "names are cleaned before they go into an image: ./Files/x is Files/x",
    "cim-entry-refused": "a name that could leave the layer, or a device, is refused; the reference asks Windows",
    "cim-folder-bit": "the attributes of an entry say whether it is a folder as its type does; in the reference as the "
    "tar has them",
    "hives-folder-kept": "the folder Hives of a base layer keeps what the layer says of it; the reference writes it a "
    "second time without times and descriptor",
    "truncated-noticed": "a backup stream that ends within a name, an offset or an unread content is refused; the "
    "reference takes that for its end",
}


class Rules:
    """How often each rule was used, and how often an error could only be compared by being there."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()
        self.unread_texts: Counter[str] = Counter()

    def use(self, name: str) -> None:
        """Count a use of the rule ``name``."""
        assert name in REASONS, name
        self.used[name] += 1

    def report(self) -> list[str]:
        """Lines for people."""
        lines = [f"rule {name}, used {count} times: {REASONS[name]}" for name, count in sorted(self.used.items())]
        lines += [f"error text without a known meaning ({n} times): {text}" for text, n in self.unread_texts.items()]
        return lines
