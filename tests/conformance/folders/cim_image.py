"""An image and a registry that only note what they are asked for, in the terms of the APIs of Windows."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from wclayer.errors import NotFoundError
from wclayer.formats.cim.hives import HiveFile, HiveSink
from wclayer.formats.cim.layer_names import HiveNames, windows_path
from wclayer.formats.cim.pouring import image_time
from wclayer.formats.cim.profiles import DEFAULT_SECURITY_DESCRIPTOR
from wclayer.hcs.failures import HcsError, win32_code
from wclayer.model import Metadata, Notices, Stream
from wclayer.ntfs.ea import encode_eas

__all__ = ["NOT_FOUND", "Calls", "Image"]

NOT_FOUND = (2, 3)


class Calls:
    """What was asked for, in order; fails where the case says so."""

    def __init__(self, item: dict[str, Any], scratch: Path) -> None:
        self.made: list[dict[str, Any]] = []
        self._places = [(str(scratch / "layer"), "{layer}")]
        self._places += [(str(scratch / f"p{n}"), f"{{parent{n}}}") for n in range(len(item.get("parents", ())))]
        self._failing = {
            name: int(number, 16) for name, number in re.findall(r"(\w+)=(0x[0-9A-Fa-f]+)", str(item.get("env", "")))
        }

    @property
    def failing(self) -> set[str]:
        """The calls that the case makes fail."""
        return set(self._failing)

    def image(self, name: str, **arguments: Any) -> None:
        """A call of the CimFS API."""
        number = self._failing.get(name, 0)
        self.made.append({"fn": name, **arguments, "hr": f"0x{number:08x}"})
        if number:
            raise HcsError(f"cimfs::{name}", win32_code(number))

    def registry(self, name: str, path: str = "") -> None:
        """A call of the offline registry."""
        for place, label in self._places:
            path = path.replace(place, label)
        self.made.append({"fn": name, "path": path.replace("/", "\\"), "result": 0})

    def merge(self, _hive: HiveNames, base: HiveFile, delta: HiveFile, sink: HiveSink, _notices: Notices) -> None:
        """A stand-in for the merging of hives."""
        contents = []
        for file in (base, delta):
            self.registry("OROpenHive", file.label)
            with open(file.open(), "rb") as opened:
                contents.append(opened.read())
        self.registry("ORMergeHives")
        self.registry("ORSaveHive", f"{delta.label.rpartition('/')[0]}/{_hive.base}")
        sink.write(memoryview(b"MERGED\n" + contents[0] + b"\n+\n" + contents[1]))


class Sink:
    """The open stream."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def copy(self, stream: Stream) -> None:
        """Take all of it."""
        self._image.data += b"".join(bytes(piece) for piece in stream.pieces())

    def close(self) -> None:
        """The stand-in closes a stream when something else begins, as the reference does."""


class Image:
    """An image that notes what it is asked for, and finds whatever it is asked about."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._streams = 1
        self._is_open = False
        self.data = bytearray()

    def add_directory(self, path: str, metadata: Metadata) -> None:
        self._create(path, metadata, 0)

    def add_file(self, path: str, metadata: Metadata, size: int, *, sparse: bool = False) -> Sink:
        assert not sparse
        return self._create(path, metadata, size)

    def add_stream(self, path: str, stream_name: str, size: int, *, sparse: bool = False) -> Sink:
        assert not sparse
        return self._opened("CimCreateAlternateStream", path=windows_path(path + stream_name), size=size)

    def add_link(self, path: str, target: str) -> None:
        self.close_stream()
        self._calls.image("CimCreateHardLink", fs=1, new=windows_path(path), old=windows_path(target))

    def add_merge_link(self, path: str, target: str) -> None:
        self.close_stream()
        self._calls.image("CimCreateMergeLink", fs=1, new=windows_path(path), old=windows_path(target))

    def add_tombstone(self, path: str) -> None:
        self.close_stream()
        self._calls.image("CimTombstoneFile", fs=1, path=windows_path(path))

    def remove(self, path: str) -> None:
        self.close_stream()
        try:
            self._calls.image("CimDeletePath", fs=1, path=windows_path(path))
        except HcsError as error:
            if error.code not in NOT_FOUND:
                raise
            raise NotFoundError(f"there is no {path}") from error

    def contains(self, path: str) -> bool:
        return bool(path)

    def commit(self) -> None:
        self.close_stream()
        self._calls.image("CimCommitImage", fs=1)
        self._calls.image("CimCloseImage", fs=1)

    def abort(self) -> None:
        self._is_open = False

    def close_stream(self) -> None:
        """End the stream that is open."""
        if not self._is_open:
            return
        self._is_open = False
        data, self.data = bytes(self.data), bytearray()
        self._calls.image("CimCloseStream", stream=self._streams, data=_text(data))

    def _create(self, path: str, metadata: Metadata, size: int) -> Sink:
        return self._opened(
            "CimCreateFile",
            path=windows_path(path),
            attributes=metadata.attributes,
            size=size,
            creation=image_time(metadata.creation_time or 0),
            write=image_time(metadata.last_write_time or 0),
            change=image_time(metadata.change_time or 0),
            access=image_time(metadata.last_access_time or 0),
            sd=_text(metadata.security_descriptor or DEFAULT_SECURITY_DESCRIPTOR),
            reparse=_text(metadata.reparse or b""),
            ea=_text(encode_eas(metadata.extended_attributes) if metadata.extended_attributes else b""),
        )

    def _opened(self, name: str, **arguments: Any) -> Sink:
        self.close_stream()
        self._calls.image(name, fs=1, **arguments, stream=self._streams + 1)
        self._streams += 1
        self._is_open = True
        return Sink(self)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
