"""Rules about metadata, registry hives, the utility VM, and the image around the layers."""

from __future__ import annotations

from wclayer.image.lint.rules import Rule

__all__ = ["HIVES", "IMAGE", "METADATA", "UTILITY_VM"]

_LEGACY = "hcsshim internal/wclayer/legacy.go"
_BACKUPTAR = "go-winio backuptar"

METADATA = (
    Rule(
        "executable-without-descriptor",
        "warning",
        "a program without a security descriptor inherits one under which it may not be run in a container",
        "write MSWINDOWS.rawsd",
        ("go-containerregistry internal/windows", "buildkit#4537"),
    ),
    Rule(
        "descriptor-malformed",
        "error",
        "the security descriptor is not base64, or is none",
        "write it again",
        (_BACKUPTAR, "MS-DTYP 2.4.6"),
    ),
    Rule(
        "attributes-missing",
        "note",
        "no MSWINDOWS.fileattr: the file gets the attribute word 0",
        "write 32 for files and 16 for folders",
        (_BACKUPTAR,),
    ),
    Rule(
        "attributes-malformed",
        "error",
        "MSWINDOWS.fileattr is no 32-bit decimal",
        "write it as a decimal",
        (_BACKUPTAR,),
    ),
    Rule(
        "attributes-and-type",
        "error",
        "the attributes decide what is a folder, and they contradict the type of the entry",
        "set bit 16 of MSWINDOWS.fileattr for folders and for nothing else",
        (_BACKUPTAR,),
    ),
    Rule(
        "record-malformed",
        "error",
        "a PAX record that hcsshim cannot read",
        "write it again",
        (_BACKUPTAR,),
    ),
    Rule(
        "creation-time-unpadded",
        "warning",
        "the fraction of LIBARCHIVE.creationtime lacks its leading zeros: 5 ms are written .5000000 and read as half a"
        " second",
        "write nine digits (an old BuildKit does not)",
        ("buildkit util/winlayers/differ.go",),
    ),
    Rule(
        "time-range",
        "warning",
        "the time is beyond what hcsshim can carry (1677 to 2262), or before 1601, where FILETIMEs begin",
        "write a time between",
        (_BACKUPTAR, "MS-DTYP 2.3.3"),
    ),
    Rule(
        "times-missing",
        "note",
        "no access or change time: hcsshim makes them a day in 1754",
        "write atime and ctime records",
        (_BACKUPTAR,),
    ),
    Rule(
        "attribute-too-large",
        "error",
        "an extended attribute with a name over 255 or a value over 65535 bytes",
        "leave it out",
        ("go-winio ea.go",),
    ),
)

HIVES = (
    Rule(
        "base-hive-missing",
        "error",
        "a base layer without one of its five registry hives; ProcessBaseLayer fails",
        "add Files/Windows/System32/config/{DEFAULT,SAM,SECURITY,SOFTWARE,SYSTEM}",
        ("hcsshim internal/wclayer/converttobaselayer.go", "hcsshim#901"),
    ),
    Rule(
        "hive-empty",
        "error",
        "an empty file in place of a hive: importing a child fails with 0x3f1 on newer hosts",
        "write a minimal hive of 8192 bytes (imgutil writes empty ones)",
        ("hcsshim#901", "moby#44992"),
    ),
    Rule(
        "hive-malformed",
        "error",
        "a hive without the signature, the size or the checksum of one: 0x3f1",
        "write it again",
        ("moby#44992",),
    ),
    Rule(
        "hives-folder",
        "error",
        "a folder below Hives, whose metadata hcsshim writes in a wrong form",
        "leave it out",
        (_LEGACY,),
    ),
    Rule(
        "hive-name",
        "warning",
        "no name of a delta hive (DefaultUser_Delta, Sam_Delta, Security_Delta, Software_Delta, System_Delta)",
        "leave it out",
        ("hcsshim internal/wclayer/cim",),
    ),
)

UTILITY_VM = (
    Rule(
        "uvm-order",
        "error",
        "'missing UtilityVM directory': entries below UtilityVM come before its own entry",
        "write a folder entry UtilityVM before everything below it",
        (_LEGACY,),
    ),
    Rule(
        "uvm-outside",
        "error",
        "'invalid UtilityVM layer': below UtilityVM there is only Files",
        "leave it out",
        (_LEGACY,),
    ),
    Rule(
        "uvm-metadata",
        "error",
        "'closed': of the entry UtilityVM of an upper layer hcsshim takes the name alone, and fails at its descriptor",
        "write the entry UtilityVM without a security descriptor and extended attributes",
        (_LEGACY,),
    ),
    Rule(
        "uvm-without-parent",
        "error",
        "the layer changes a utility VM, and its parent has none that could be cloned",
        "leave out UtilityVM",
        (_LEGACY,),
    ),
    Rule(
        "uvm-boot-configuration",
        "error",
        "a base layer with a UtilityVM but without UtilityVM/Files/EFI/Microsoft/Boot/BCD",
        "add it, or leave out UtilityVM",
        ("hcsshim internal/wclayer/converttobaselayer.go",),
    ),
    Rule(
        "uvm-in-upper-layer",
        "note",
        "an upper layer that changes the utility VM; pulling such layers as block CIMs failed for some time",
        "nothing, if it is meant",
        ("containerd#12439",),
    ),
)

IMAGE = (
    Rule(
        "image-os",
        "error",
        "the configuration does not say windows",
        "build the image for windows/amd64",
        ("moby#35668",),
    ),
    Rule(
        "image-os-version",
        "warning",
        "no os.version: a host cannot tell whether it can run the image",
        "copy os.version from the base image",
        ("kubernetes-sigs/azuredisk-csi-driver#519",),
    ),
    Rule(
        "image-linux-path",
        "warning",
        "the environment has a PATH of Linux, which hides that of Windows",
        "leave PATH unset, or write one with C:\\Windows\\system32",
        ("buildkit#1560", "docker/buildx#375"),
    ),
    Rule(
        "image-linux-shell",
        "warning",
        "the command is one of a Linux shell",
        "write a command of Windows",
        ("buildkit#1560",),
    ),
    Rule(
        "image-too-many-layers",
        "error",
        "more than 127 layers above the base, which is as many delta hives as a registry key can have",
        "flatten some of them",
        ("dfir.ru, containerized registry hives",),
    ),
)
