"""Whether the files of a layer are still the ones that its DiffID was made of.

Docker keeps the tar of each layer without the data of its files: ``tar-split.json.gz`` lists pieces of the tar as they
are, and between them the files that fill the gaps. With the files of the layer's folder the tar can be made again, and
its digest is the DiffID, or something is not what it was. Windows rewrites the boot configuration of the utility VM
when a layer is imported; of those four files Docker keeps copies, and they stand in for them.

Source: vbatts/tar-split, ``tar/storage`` and ``tar/asm``; moby, ``daemon/graphdriver/windows/windows.go``
(``DiffGetter``, ``mutatedFiles``).
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from wclayer.errors import FormatError, LimitError, NotFoundError, StoreError, WclayerError
from wclayer.oci.digests import Hash, new_hash
from wclayer.oci.limits import Limits
from wclayer.store.hosts.docker.layerdb import TAR_SPLIT, LayerRecord
from wclayer.store.hosts.docker.store import DockerStore
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.records import Finding

__all__ = ["check_content", "diff_id_of"]

_CHUNK = 1 << 20
_LINE = 16 << 20
_FILE, _SEGMENT = 1, 2
_BOOT = "utilityvm/files/efi/microsoft/boot/"
_KEPT = {f"{_BOOT}{name}": f"{name}.bak" for name in ("bcd", "bcd.log", "bcd.log1", "bcd.log2")}


def check_content(store: DockerStore) -> Iterator[Finding]:
    """Compare the data of all layers that have a folder with their DiffIDs."""
    for chain_id, record in sorted(store.layerdb.layers.items()):
        folder = store.folders.get(chain_id)
        if folder is None or record.diff_id is None or not store.home.layers[folder].has_files:
            continue
        if not record.has_tar_split:
            yield Finding("content-unchecked", "warning", chain_id, f"there is no {TAR_SPLIT} to make its tar from")
            continue
        path = store.home.layers[folder].path
        try:
            actual = diff_id_of(store.tree, path, record)
        except NotFoundError as error:
            yield Finding("layer-data-missing", "error", chain_id, error.message)
        except WclayerError as error:
            yield Finding("layer-data-wrong", "error", chain_id, error.message)
        else:
            if actual != record.diff_id:
                detail = f"with the files that are there its DiffID is {actual}, not {record.diff_id}"
                yield Finding("layer-data-wrong", "error", chain_id, detail)
        store.tree.forget(path)


def diff_id_of(tree: HostTree, folder: str, record: LayerRecord) -> str:
    """The DiffID of the tar that the files in ``folder`` make.

    Raises NotFoundError for a file that is not there, FormatError for one of another size and for a damaged
    ``tar-split.json.gz``, LimitError, StoreError.
    """
    state = new_hash()
    with tree.open(joined(record.path, TAR_SPLIT)) as packed:
        for line in _lines(packed):
            _take(tree, folder, line, state)
    return f"sha256:{state.hexdigest()}"


def _take(tree: HostTree, folder: str, line: bytes, state: Hash) -> None:
    try:
        entry: dict[str, Any] = json.loads(line)
        kind, payload = entry["type"], base64.b64decode(entry.get("payload") or "", validate=True)
        name = entry.get("name") or ""
        if entry.get("name_raw"):
            name = base64.b64decode(entry["name_raw"], validate=True).decode("utf-8", "surrogateescape")
        size = entry.get("size") or 0
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, binascii.Error) as error:
        raise FormatError(f"{TAR_SPLIT}: a line is no entry: {error}", kind="tar-split") from None
    if kind == _SEGMENT:
        state.update(payload)
    elif kind != _FILE or not isinstance(name, str) or type(size) is not int or size < 0:
        raise FormatError(f"{TAR_SPLIT}: an entry of type {kind!r:.40}", kind="tar-split")
    elif size:
        _hash_file(tree, folder, name, size, state)


def _hash_file(tree: HostTree, folder: str, name: str, size: int, state: Hash) -> None:
    path = "/".join(component for component in name.split("/") if component not in ("", "."))
    owner, colon, stream = _KEPT.get(path.lower(), path).partition(":")
    found = tree.find(joined(folder, owner))
    # A folder may have streams too.
    if found is None or found[1].kind not in (("file", "folder") if colon else ("file",)):
        raise NotFoundError(f"{name}: the layer lists it, and it is not there")
    with tree.files.open(f"{found[0]}{colon}{stream}") as data:
        length = 0
        try:
            while chunk := data.read(_CHUNK):
                length += len(chunk)
                if length > size:
                    break
                state.update(chunk)
        except OSError as error:
            raise StoreError(f"{name}: cannot be read: {error.strerror or error}") from error
    if length != size:
        more = "more than " if length > size else ""
        raise FormatError(f"{name}: {more}{min(length, size)} bytes where the layer lists {size}", kind="layer-data")


def _lines(packed: BinaryIO) -> Iterator[bytes]:
    """The lines of a gzip file, each at most ``_LINE`` bytes."""
    limits = Limits()
    unpacker = zlib.decompressobj(wbits=31)
    waiting = bytearray()
    read = written = 0
    while not unpacker.eof:
        try:
            raw = unpacker.unconsumed_tail or packed.read(_CHUNK)
        except OSError as error:
            raise StoreError(f"{TAR_SPLIT}: cannot be read: {error.strerror or error}") from error
        if not raw:
            raise FormatError(f"{TAR_SPLIT}: it is cut short", kind="unexpected-eof")
        read += len(raw) if not unpacker.unconsumed_tail else 0
        try:
            data = unpacker.decompress(raw, _CHUNK)
        except zlib.error as error:
            raise FormatError(f"{TAR_SPLIT}: {error}", kind="gzip") from None
        written += len(data)
        limits.check(max(read, 1), written)
        waiting += data
        *lines, rest = waiting.split(b"\n")
        yield from (bytes(line) for line in lines if line.strip())
        waiting = bytearray(rest)
        if len(waiting) > _LINE:
            raise LimitError(f"{TAR_SPLIT}: a line of more than {_LINE} bytes")
    if waiting.strip():
        yield bytes(waiting)
