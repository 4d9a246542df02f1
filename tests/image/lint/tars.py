"""Layer tars as the tools of this world write them, and as nobody should."""

from __future__ import annotations

import io
import tarfile
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

from wclayer.image.lint import Findings, LintReport, lint
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.regf import minimal_hive

FILE_SD = b64encode(build(from_sddl("O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)"))).decode()
FOLDER_SD = b64encode(build(from_sddl("O:BAG:SYD:(A;OICI;FA;;;BA)"))).decode()
USERS_SD = b64encode(build(from_sddl("O:BUG:BU"))).decode()
HIVE = minimal_hive("x")
TIMES = {"atime": "1600000000", "ctime": "1600000000"}
BASE_HIVES = ("DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM")


class Layer:
    """A layer tar in the making; every method adds an entry and returns the layer."""

    def __init__(self, *, roots: bool = True) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._buffer, mode="w", format=tarfile.PAX_FORMAT)
        if roots:
            self.folder("Files").folder("Hives")

    def entry(
        self,
        name: str,
        kind: bytes = tarfile.REGTYPE,
        data: bytes = b"",
        *,
        target: str = "",
        mtime: float = 1_600_000_000,
        records: Mapping[str, str | None] | None = None,
    ) -> Layer:
        """Any entry; a record that is None is left out of those every entry has."""
        given: dict[str, str | None] = {
            **TIMES,
            "MSWINDOWS.fileattr": "16" if kind == tarfile.DIRTYPE else "32",
            "MSWINDOWS.rawsd": FOLDER_SD if kind == tarfile.DIRTYPE else FILE_SD,
            **(records or {}),
        }
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname, info.mtime = kind, len(data), target, mtime
        info.pax_headers = {key: value for key, value in given.items() if value is not None}
        self._tar.addfile(info, io.BytesIO(data))
        return self

    def folder(self, name: str, **records: str | None) -> Layer:
        """A folder."""
        return self.entry(name, tarfile.DIRTYPE, records=_dotted(records))

    def folders(self, *names: str) -> Layer:
        """Several folders."""
        for name in names:
            self.folder(name)
        return self

    def file(self, name: str, data: bytes = b"x", **records: str | None) -> Layer:
        """A file."""
        return self.entry(name, data=data, records=_dotted(records))

    def link(self, name: str, target: str) -> Layer:
        """A hard link."""
        return self.entry(name, tarfile.LNKTYPE, target=target)

    def symlink(self, name: str, target: str) -> Layer:
        """A symbolic link."""
        return self.entry(name, tarfile.SYMTYPE, target=target)

    def whiteout(self, name: str) -> Layer:
        """A whiteout, under its whole name."""
        return self.entry(name, records={**dict.fromkeys(TIMES), "MSWINDOWS.fileattr": None, "MSWINDOWS.rawsd": None})

    def base(self) -> Layer:
        """What a base layer needs."""
        self.folders("Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config")
        for hive in BASE_HIVES:
            self.file(f"Files/Windows/System32/config/{hive}", HIVE)
        return self

    def bytes(self) -> bytes:
        """The tar."""
        self._tar.close()
        return self._buffer.getvalue()


def _dotted(records: Mapping[str, str | None]) -> dict[str, str | None]:
    names = {"attributes": "MSWINDOWS.fileattr", "sd": "MSWINDOWS.rawsd", "created": "LIBARCHIVE.creationtime"}
    return {names.get(key, key): value for key, value in records.items()}


def run(tmp_path: Path, layer: Layer | bytes, *, parents: Sequence[Path] = (), role: str = "upper") -> LintReport:
    """Lint one layer tar."""
    path = tmp_path / "layer.tar"
    path.write_bytes(layer if isinstance(layer, bytes) else layer.bytes())
    return lint(str(path), parents=parents, role=role)  # type: ignore[arg-type]


def rules(report: LintReport) -> dict[str, int]:
    """How often each rule found something."""
    return counts(report.findings)


def counts(findings: Findings) -> dict[str, int]:
    """The same of findings."""
    found: dict[str, int] = {}
    for (_, rule), count in findings.counts.items():
        found[rule] = found.get(rule, 0) + count
    return found
