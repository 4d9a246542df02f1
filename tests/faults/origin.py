"""A registry of the smallest kind, in memory: manifests, blobs of any size by range, and uploads by the letter."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.wire import Exchange
from wclayer.oci.digests import Digest, digest_of

__all__ = ["Bytes", "Content", "Endless", "Origin"]

_BLOCK = 1 << 20


class Content(Protocol):
    """The bytes of a blob."""

    @property
    def size(self) -> int: ...

    @property
    def digest(self) -> Digest: ...

    def read(self, start: int, end: int) -> Iterator[memoryview]: ...


class Bytes:
    """A small blob."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.digest = digest_of(data)

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        view = memoryview(self.data)
        for position in range(start, end, 1 << 18):
            yield view[position : min(position + (1 << 18), end)]


class Endless:
    """A blob of any size that takes no room: one block of noise over and over, each beginning with its number."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._noise = random.Random(size).randbytes(_BLOCK)
        state = hashlib.sha256()
        for piece in self.read(0, size):
            state.update(piece)
        self.digest = Digest("sha256", state.hexdigest())

    def read(self, start: int, end: int) -> Iterator[memoryview]:
        noise = memoryview(self._noise)
        while start < end:
            number, inside = divmod(start, _BLOCK)
            head = number.to_bytes(8, "big")
            piece = memoryview(head)[inside:] if inside < 8 else noise[inside:]
            piece = piece[: end - start]
            yield piece
            start += len(piece)


@dataclass
class _Upload:
    data: bytearray = field(default_factory=bytearray)


class Origin:
    """Answers for ``/v2/<name>/blobs/…``; all repositories share their blobs only by mounting."""

    def __init__(self, *contents: Content, repository: str = "blob/store", chunk_minimum: int = 0) -> None:
        self.blobs: dict[tuple[str, str], Content] = {(repository, str(one.digest)): one for one in contents}
        self.documents: dict[tuple[str, str], tuple[str, bytes]] = {}
        """Media type and bytes of what manifests there are, by repository and tag or digest."""
        self.chunk_minimum = chunk_minimum
        self.uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/v2/":
            exchange.respond(200)
        elif found := re.fullmatch(r"/v2/(.+)/blobs/uploads/([^/]*)", request.path):
            self._upload(exchange, found[1], found[2])
        elif found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", request.path):
            self._document(exchange, self.documents.get((found[1], found[2])))
        elif found := re.fullmatch(r"/v2/(.+)/blobs/([^/]+)", request.path):
            self._blob(exchange, self.blobs.get((found[1], found[2])))
        else:
            exchange.respond(404)

    def put_manifest(self, repository: str, tag: str, media_type: str, raw: bytes) -> None:
        """Have a manifest under a tag and under its digest."""
        for reference in (tag, str(digest_of(raw))):
            self.documents[repository, reference] = (media_type, raw)

    def _document(self, exchange: Exchange, document: tuple[str, bytes] | None) -> None:
        if document is None:
            exchange.respond(404)
            return
        media_type, raw = document
        exchange.respond(200, [("Content-Type", media_type), ("Docker-Content-Digest", str(digest_of(raw)))], raw)

    def _blob(self, exchange: Exchange, content: Content | None) -> None:
        if content is None:
            exchange.respond(404)
            return
        start, end, status = 0, content.size, 200
        headers = [("Docker-Content-Digest", str(content.digest)), ("ETag", f'"{content.digest}"')]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", exchange.request.headers.get("range", ""))
        if exchange.request.headers.get("if-range", f'"{content.digest}"') != f'"{content.digest}"':
            wanted = None
        if wanted:
            start, status = int(wanted[1]), 206
            end = min(int(wanted[2]) + 1, end) if wanted[2] else end
            if start >= end:
                exchange.respond(416, [("Content-Range", f"bytes */{content.size}")])
                return
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{content.size}"))
        exchange.start(status, [*headers, ("Content-Length", str(end - start))])
        if exchange.request.method != "HEAD":
            for piece in content.read(start, end):
                exchange.send(piece)
        exchange.end()

    def _upload(self, exchange: Exchange, name: str, session: str) -> None:
        request = exchange.request
        if request.method == "POST":
            self._begin(exchange, name)
        elif session not in self.uploads:
            exchange.respond(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')
        elif request.method == "PATCH":
            self._patch(exchange, name, session)
        elif request.method == "PUT":
            self._put(exchange, name, session)
        elif request.method == "DELETE":
            del self.uploads[session]
            exchange.respond(204)
        else:
            exchange.respond(204, self._state(name, session))

    def _begin(self, exchange: Exchange, name: str) -> None:
        query = exchange.request.query
        if "mount" in query:
            key = (query["from"][0], query["mount"][0])
            if key in self.blobs:
                self.blobs[name, key[1]] = self.blobs[key]
                exchange.respond(201, [("Location", f"/v2/{name}/blobs/{key[1]}")])
                return
        with self._lock:
            session = f"s{next(self._numbers)}"
        self.uploads[session] = _Upload()
        minimum = [("OCI-Chunk-Min-Length", str(self.chunk_minimum))] if self.chunk_minimum else []
        exchange.respond(202, [*self._state(name, session), *minimum])

    def _patch(self, exchange: Exchange, name: str, session: str) -> None:
        data = self.uploads[session].data
        wanted = exchange.request.headers.get("content-range")
        if wanted is not None and int(wanted.partition("-")[0]) != len(data):
            exchange.respond(416, self._state(name, session))
            return
        for piece in exchange.body():
            data += piece
        exchange.respond(202, self._state(name, session))

    def _put(self, exchange: Exchange, name: str, session: str) -> None:
        data = self.uploads[session].data
        for piece in exchange.body():
            data += piece
        content = Bytes(bytes(data))
        del self.uploads[session]
        if [str(content.digest)] != exchange.request.query.get("digest"):
            exchange.respond(400, body=b'{"errors":[{"code":"DIGEST_INVALID","message":"not what was promised"}]}')
            return
        self.blobs[name, str(content.digest)] = content
        headers = [("Location", f"/v2/{name}/blobs/{content.digest}"), ("Docker-Content-Digest", str(content.digest))]
        exchange.respond(201, headers)

    def _state(self, name: str, session: str) -> list[tuple[str, str]]:
        have = len(self.uploads[session].data)
        return [("Location", f"/v2/{name}/blobs/uploads/{session}"), ("Range", f"0-{max(have - 1, 0)}")]
