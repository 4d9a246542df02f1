"""What is known of the errors of importing, exporting and processing layers, each with where that is known from."""

from __future__ import annotations

from wclayer.image.explain_entry import Explanation

__all__ = ["LAYER_ERRORS"]

LAYER_ERRORS = (
    Explanation(
        "import-not-found",
        "ImportLayer finds a file or a path missing",
        functions=("ImportLayer", "HcsImportLayer"),
        codes=(0x2, 0x3),
        causes=(
            "the layer holds a reparse point that Windows does not take, such as a symbolic link of Cygwin or WSL",
            "the layer lacks an entry for Files, for Hives, or for a folder on the way to a file",
            "a name in $Recycle.Bin that cannot be decoded",
            "a filter driver on the host is in the way, such as Sysmon's",
            "a file of more than 8 GiB, written by an old engine",
            "the target folder was given by a relative or short path, and long paths in the layer did not fit",
        ),
        steps=(
            "wclayer lint IMAGE names the entries that Windows refuses",
            "build again with CYGWIN=winsymlinks:nativestrict, or remove the symbolic links of WSL",
            "on the host: fltmc filters, and unload what does not belong to Windows",
        ),
        sources=(
            "moby#41058",
            "hcsshim#835",
            "hcsshim#879",
            "moby#32838",
            "hcsshim#368",
            "hcsshim#769",
            "moby#42807",
            "moby#40444",
            "hcsshim#285",
            "Windows-Containers#43",
            "Windows-Containers#200",
            "Windows-Containers#231",
        ),
    ),
    Explanation(
        "import-denied",
        "ImportLayer is denied access",
        functions=("ImportLayer", "HcsImportLayer"),
        codes=(0x5,),
        causes=(
            "another program on the host, often a virus scanner, has files of the layer open",
            "the process lacks SeBackupPrivilege and SeRestorePrivilege, or on a mounted disk SeSecurityPrivilege",
            "the layer holds names that are devices to Win32 (NUL, CON)",
        ),
        steps=(
            "exclude the engine's data folder from virus scanning, and try again",
            "run elevated",
            "wclayer lint IMAGE finds the names",
        ),
        sources=("moby#35988", "docker/for-win#1577", "docker/for-win#921", "containerd#8206"),
    ),
    Explanation(
        "registry-corrupt",
        "the registry of the layer below is corrupt",
        codes=(0x3F1, 0x3F9),
        phrases=("configuration registry database is corrupt",),
        causes=(
            "the base layer was made with empty files instead of registry hives; old hosts accept that",
            "a delta hive in Hives is damaged",
        ),
        steps=(
            "wclayer lint IMAGE shows which hives are empty or damaged (hive-empty, hive-malformed)",
            "make the base again with hives of 8192 bytes",
        ),
        sources=("hcsshim#901", "moby#44992"),
    ),
    Explanation(
        "too-many-links",
        "a file got more names than NTFS allows",
        codes=(0x476,),
        phrases=("create more links on a file than",),
        causes=(
            "NTFS allows 1023 hard links beside the first name, and Windows links unchanged files from layer to layer",
            "the same layers were pulled again and again without removing the old ones",
        ),
        steps=("remove images that are not in use, and pull again", "wclayer lint IMAGE: hard-link-count"),
        sources=("moby#40511", "Windows-Containers#38"),
    ),
    Explanation(
        "wrong-system",
        "the layer is not one of Windows, or not one of this Windows",
        functions=("ProcessBaseLayer", "ProcessBaseImage"),
        codes=(0x2, 0x3, 0x1F),
        phrases=("re-exec error: exit status 1: output: processbaselayer",),
        causes=(
            "the image is for Linux and was pulled in Windows mode: its layers have no Files folder",
            "the base image was made without the hives or folders that ProcessBaseLayer looks for",
        ),
        steps=(
            "wclayer inspect IMAGE shows the platform; choose another one with --platform",
            "wclayer lint IMAGE: not-a-windows-layer, no-files-root, base-hive-missing",
        ),
        sources=("hcsshim#2226", "docker/for-win#2422", "moby#33460", "moby#35668", "buildkit#5758"),
    ),
    Explanation(
        "process-denied",
        "ProcessBaseLayer is denied access",
        functions=("ProcessBaseLayer", "ProcessBaseImage", "ProcessUtilityVMImage"),
        codes=(0x5,),
        causes=(
            "a virus scanner or a filter driver on the host",
            "the engine's data folder was moved to a volume or folder with other rights",
            "the process is not elevated, or lacks SeManageVolumePrivilege",
        ),
        steps=("exclude the data folder from scanning", "put the data folder back to see whether it is the place"),
        sources=("hcsshim#2380", "moby#52611"),
    ),
    Explanation(
        "no-containers-feature",
        "Windows has no containers, or not the parts that are needed",
        codes=(0x7E, 0x7F),
        phrases=("specified module could not be found", "failed to load vmcompute.dll"),
        causes=(
            "the Containers feature of Windows is not installed; for Hyper-V isolation, Hyper-V is not",
            "hcsshim before 2023 looked for HcsDestoryLayer, which does not exist",
        ),
        steps=(
            "Enable-WindowsOptionalFeature -Online -FeatureName Containers -All, and restart",
            "update the engine",
        ),
        sources=("hcsshim#1445", "hcsshim#1872"),
    ),
    Explanation(
        "export-not-found",
        "ExportLayer finds a path missing",
        functions=("ExportLayer", "HcsExportLayer", "NewLayerReader"),
        codes=(0x2, 0x3),
        causes=(
            "the layer holds reparse points or names that Windows cannot export (the commit of a container that Cygwin"
            " or WSL wrote to)",
            "on some builds vmcompute cannot export a layer that stands right on the base",
            "a filter driver on the host",
        ),
        steps=(
            "remove the symbolic links of Cygwin or WSL in the last step of the build",
            "export with HcsExportLayer where the layer has its delta hives",
        ),
        sources=("moby#41058", "docker/for-win#3682", "Virtualization-Documentation#294", "docker/docs#9870"),
    ),
    Explanation(
        "prepare-layer",
        "PrepareLayer: incorrect function",
        functions=("PrepareLayer",),
        codes=(0x1,),
        phrases=("incorrect function",),
        causes=(
            "a filter driver that follows no rules for layers: those of Dropbox, of Box, and others built on CBFS",
        ),
        steps=("on the host: fltmc filters; remove the driver (cbfsconnect2017 and the like) and restart",),
        sources=("docker/for-win#3884", "docker/for-win#13932", "moby#42807"),
    ),
    Explanation(
        "scratch-size",
        "a writable layer of more than 20 GB is of no use",
        functions=("ExpandScratchSize", "ExpandSandboxSize", "CreateScratchLayer", "CreateSandboxLayer"),
        codes=(0x57,),
        causes=("the disk was enlarged and the volume on it was not (Windows 1903)",),
        steps=("extend the volume to the size of its partition, as newer versions of hcsshim do",),
        sources=("hcsshim#708",),
    ),
    Explanation(
        "layer-in-use",
        "a file of the layer is in use",
        codes=(0x20,),
        phrases=("being used by another process",),
        causes=(
            "a container of this layer still runs, or its volume is still attached",
            "SetupContainerBaseLayer removes Hives, which a running container of that base has open",
            "a virus scanner or an indexer",
        ),
        steps=("stop the containers; unprepare and deactivate the layer", "exclude the data folder from scanning"),
        sources=("containerd#4912", "moby#36618", "docker/for-win#1848", "hcsshim#155"),
    ),
    Explanation(
        "process-killed",
        "the whole process dies while a layer is removed",
        codes=(0xC0000420,),
        phrases=("0xc0000420", "assertion failure has occurred"),
        causes=("a base layer was destroyed while a layer above it was mounted: vmcompute raises inside the caller",),
        steps=("deactivate and remove the layers above first",),
        sources=("hcsshim#961", "containerd#4924"),
    ),
    Explanation(
        "reparse-in-path",
        "a path leads through a reparse point",
        codes=(0x112B, 0xC000050B),
        phrases=("object manager encountered a reparse point",),
        causes=(
            "an entry of the layer lies below a symbolic link or a junction, which hcsshim refuses to follow",
            "a folder of a parent layer was replaced by a link",
        ),
        steps=("wclayer lint IMAGE: below-reparse-point", "write the entries to where the link leads"),
        sources=("CVE-2018-8115", "hcsshim internal/safefile"),
    ),
    Explanation(
        "open-relative",
        "an entry could not be created in the layer",
        phrases=("failed to safefile.openrelative", "safefile.openrelative"),
        causes=(
            "a folder on the way to the entry has no entry of its own, or comes after it",
            "the path comes twice, or once more with other letters in upper case",
        ),
        steps=("wclayer lint IMAGE: parent-missing, parent-after-child, duplicate-entry, case-collision",),
        sources=("hcsshim#1688",),
    ),
    Explanation(
        "hives-there-already",
        "converting to a base layer fails when there are hives",
        functions=("ConvertToBaseLayer",),
        codes=(0xB7, 0x50),
        causes=("hcsshim saves its empty hives in any case, and Windows refuses to save over a file",),
        steps=("remove the hives first, or convert with wclayer, which keeps those that are there",),
        sources=("hcsshim internal/wclayer/converttobaselayer.go",),
    ),
    Explanation(
        "disk-not-ready",
        "the disk of a layer is not there yet",
        codes=(0x15, 0x48F),
        causes=("the disk was attached a moment ago; Windows is not done",),
        steps=("try again after 100 ms, some five times, as containerd does",),
        sources=("containerd pkg/snapshotters windows",),
    ),
)
