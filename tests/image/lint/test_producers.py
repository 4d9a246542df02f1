"""What the builders of this world write on Linux, and what Windows makes of it."""

from __future__ import annotations

import tarfile
from pathlib import Path

from tests.image.lint.tars import FILE_SD, FOLDER_SD, USERS_SD, Layer, rules, run

BARE = {"MSWINDOWS.fileattr": None, "MSWINDOWS.rawsd": None, "atime": None, "ctime": None}


def test_buildkit(tmp_path: Path) -> None:
    """Roots without descriptors; times without padding; Files/ in front of every target; no access times."""
    times = {"atime": None, "ctime": None}
    stamp = {**times, "LIBARCHIVE.creationtime": "1600000000.5000000"}
    layer = Layer(roots=False)
    for root in ("Hives", "Files"):
        layer.entry(root, tarfile.DIRTYPE, records={**stamp, "MSWINDOWS.rawsd": None})
    layer.entry("Files/app/", tarfile.DIRTYPE, records={**stamp, "MSWINDOWS.rawsd": FOLDER_SD})
    layer.entry("Files/app/a.exe", data=b"MZ", mtime=1_600_000_000.005, records={**stamp, "MSWINDOWS.rawsd": FILE_SD})
    layer.entry("Files/app/link", tarfile.SYMTYPE, target="Files/app/a.exe", records=BARE)
    assert rules(run(tmp_path, layer)) == {"creation-time-unpadded": 4, "symlink-prefix": 1, "times-missing": 1}


def test_buildkit_without_a_zero_at_the_end(tmp_path: Path) -> None:
    """The time of creation is that of the last write, so the digits of both tell."""
    layer = Layer().file("Files/a", mtime="1600000000.005000003", created="1600000000.5000003")
    assert rules(run(tmp_path, layer)) == {"creation-time-unpadded": 1}


def test_buildah(tmp_path: Path) -> None:
    """As BuildKit, with padded times."""
    stamp = {"LIBARCHIVE.creationtime": "1600000000.005000000", "atime": None, "ctime": None}
    layer = Layer(roots=False)
    for root in ("Hives/", "Files/", "Files/app/"):
        layer.entry(root, tarfile.DIRTYPE, records={**stamp, "MSWINDOWS.rawsd": FOLDER_SD})
    layer.entry("Files/app/a.exe", data=b"MZ", records=stamp)
    layer.entry("Files/app/link", tarfile.SYMTYPE, target="Files/app/a.exe", records=BARE)
    assert rules(run(tmp_path, layer)) == {"symlink-prefix": 1, "times-missing": 1}


def test_crane_append(tmp_path: Path) -> None:
    """No parent folders, no attributes, and hard links without the prefix."""
    layer = Layer(roots=False)
    for root in ("Files", "Hives"):
        layer.entry(root, tarfile.DIRTYPE, records=BARE)
    given = {**BARE, "MSWINDOWS.rawsd": USERS_SD}
    layer.entry("Files/app/a.exe", data=b"MZ", records=given)
    layer.entry("Files/app/b.exe", tarfile.LNKTYPE, target="app/a.exe", records=given)
    assert rules(run(tmp_path, layer)) == {
        "parent-missing": 1,
        "hard-link-outside": 1,
        "attributes-missing": 1,
        "times-missing": 1,
    }


def test_ko(tmp_path: Path) -> None:
    """Nothing that Windows minds."""
    layer = Layer(roots=False)
    for root in ("Hives", "Files", "Files/ko-app"):
        layer.entry(root, tarfile.DIRTYPE, records=BARE)
    layer.entry("Files/ko-app/app.exe", data=b"MZ", records={**BARE, "MSWINDOWS.rawsd": USERS_SD})
    assert rules(run(tmp_path, layer)) == {"attributes-missing": 1, "times-missing": 1}


def test_imgutil_base(tmp_path: Path) -> None:
    """A base of empty hives, which old hosts take and new ones do not."""
    layer = Layer(roots=False)
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    for count in range(1, 6):
        layer.entry("/".join(boot.split("/")[:count]), tarfile.DIRTYPE, records=BARE, mtime=0)
    layer.entry(f"{boot}/BCD", data=b"regf", records=BARE, mtime=0)
    config = "Files/Windows/System32/config"
    for count in range(1, 5):
        layer.entry("/".join(config.split("/")[:count]), tarfile.DIRTYPE, records=BARE, mtime=0)
    for hive in ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"):
        layer.entry(f"{config}/{hive}", records=BARE, mtime=0)
    report = run(tmp_path, layer, role="auto")
    assert list(report.layers.values()) == ["base"]
    assert rules(report) == {"hive-empty": 5, "attributes-missing": 1, "times-missing": 1}
