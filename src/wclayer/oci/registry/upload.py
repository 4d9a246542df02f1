"""Blobs into a registry: not sent when they are there already, mounted when another repository has them, else uploaded.

An upload is a session of the registry (distribution specification, "Pushing blobs"). Its bytes go in one request, as
most registries like it best, or in chunks where the registry or the caller wants it so. After a break the session is
asked how far it got, and goes on from there. The registry compares the digest before it takes the blob; when it finds
another one, the blob is sent once more, in one piece, after looking whether our own copy is what it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Literal
from urllib.parse import quote, urljoin

from wclayer.errors import (
    AuthenticationError,
    DigestMismatchError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    WclayerError,
)
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.broken import ConnectionBroken
from wclayer.oci.registry.failures import server_words
from wclayer.oci.registry.http import StreamedBody
from wclayer.oci.registry.names import RegistryName
from wclayer.oci.registry.ranges import content_range, parse_upload_range
from wclayer.oci.registry.repository import Actions, Repository
from wclayer.oci.registry.retrying import LONGEST_WAIT, RETRIED, retry_after
from wclayer.oci.registry.sending import Content, SourceFactory
from wclayer.oci.registry.streams import Progress

__all__ = ["upload"]

_MOUNTS = 4
_SMALLEST_CHUNK = 1 << 20
_LARGEST_MINIMUM = 1 << 30
_OCTETS = {"Content-Type": "application/octet-stream"}
_WRONG_CONTENT = {"DIGEST_INVALID", "SIZE_INVALID", "BLOB_UPLOAD_INVALID"}
_PUSH: Actions = "pull,push"


def upload(
    repository: Repository,
    source_factory: SourceFactory,
    descriptor: Descriptor,
    *,
    mount_from: Sequence[RegistryName] = (),
    chunk_size: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Literal["exists", "mounted", "uploaded"]:
    """See that the registry has the blob, and say how that came about.

    ``mount_from`` are repositories that may have it; those of other registries are passed over. ``chunk_size`` is the
    most that one request carries, in bytes; None for everything in one. ``advance`` is told of bytes that were sent,
    and of a negative number when they have to be sent again.

    Raises AuthenticationError, NotFoundError, UnsupportedError and NetworkError; DigestMismatchError when the content
    is not what ``descriptor`` promises; and what the source raises. A session that was begun is cancelled then.
    """
    if chunk_size is not None and chunk_size < 1:
        raise UsageError("a chunk of an upload has at least one byte")
    session = _Upload(repository, source_factory, descriptor, chunk_size, advance)
    if session.is_there():
        return "exists"
    try:
        if session.mount(mount_from):
            return "mounted"
        session.run()
    except BaseException as error:
        session.cancel()
        if isinstance(error, WclayerError):
            error.locate(image=str(repository.name))
        raise
    return "uploaded"


class _Again(Exception):  # not an error yet: whether it becomes one is decided by _failed
    """Something transient happened; ``error`` is what it is when it happens too often."""

    def __init__(self, error: WclayerError, asked: float | None = None) -> None:
        super().__init__()
        self.error = error
        self.asked = asked


class _Refused(Exception):  # see _Again
    """The registry found another digest."""


class _Upload:
    def __init__(
        self,
        repository: Repository,
        source_factory: SourceFactory,
        descriptor: Descriptor,
        chunk_size: int | None,
        advance: Callable[[int], None],
    ) -> None:
        self._repository = repository
        self._content = Content(source_factory, descriptor, advance)
        self._descriptor = descriptor
        self._size = descriptor.size
        self._chunk = chunk_size or max(descriptor.size, 1)
        self._what = f"the upload of blob {descriptor.digest}"
        self._location: str | None = None
        self._offset = 0  # so much the registry has
        self._monolithic = False
        self._attempt = 0
        self._mark = 0
        self._earned = Progress(descriptor.size).earned

    def is_there(self) -> bool:
        """Whether the registry itself, and not only a mirror of it, has the blob."""
        size = self._repository.has_blob(self._descriptor.digest, actions=_PUSH)
        return size in (self._size, -1)

    def mount(self, candidates: Sequence[RegistryName]) -> bool:
        """Whether one of the first few ``candidates`` on this registry had the blob."""
        here = self._repository.name
        usable = [one for one in candidates if one.host == here.host and one.repository != here.repository]
        for candidate in usable[:_MOUNTS]:
            path = f"blobs/uploads/?mount={self._descriptor.digest}&from={quote(candidate.repository, safe='/')}"
            try:
                answer = self._request("POST", path, expect=(201, 202), retry=True, mount_from=candidate.repository)
            except (AuthenticationError, NotFoundError, UnsupportedError):
                continue  # it may not be read, or not be mounted from: then it is uploaded
            with answer:
                if answer.status == 201:
                    self._require_digest(answer)
                    return True
                self.cancel()
                self._begun(answer)
        return False

    def run(self) -> None:
        """Send the blob and have it taken."""
        refused = False
        while True:
            try:
                if self._location is None:
                    self._begin()
                self._send()
            except _Again as again:
                self._failed(again)
                if self._find_out():
                    return
            except _Refused:
                self._content.require_right()
                if refused:
                    raise self._mismatch() from None
                refused = self._monolithic = True
                self._forget()
            else:
                return

    def cancel(self) -> None:
        """Tell the registry that the session is not wanted any more, if there is one."""
        if self._location is not None:
            location, self._location = self._location, None
            expect = (200, 202, 204, 400, 404, 405, *RETRIED)
            with suppress(WclayerError):  # registries forget sessions by themselves, only later
                self._request("DELETE", location, expect=expect).close()

    # ---------------------------------------------------------------------------------------------------- one session

    def _begin(self) -> None:
        with self._request("POST", "blobs/uploads/", expect=(202,), retry=True) as answer:
            self._begun(answer)

    def _begun(self, answer: Answer) -> None:
        self._moved(answer)
        if self._location is None:
            raise NetworkError(f"{answer.place}: no Location where {self._what} may go")
        text = answer.headers.get("oci-chunk-min-length", "")
        if text.isascii() and text.isdigit() and len(text) < 12:
            self._chunk = max(self._chunk, min(int(text), _LARGEST_MINIMUM))

    def _send(self) -> None:
        while self._offset < self._size and not self._monolithic:
            self._patch(self._offset, min(self._offset + self._chunk, self._size))
        if self._monolithic:
            self._put(StreamedBody(lambda: self._content.rest(0), self._size))
        else:
            self._put(b"")

    def _patch(self, start: int, end: int) -> None:
        body = StreamedBody(lambda: self._content.rest(start), end - start)
        headers = {**_OCTETS, "Content-Range": content_range(start, end)}
        expect = (200, 201, 202, 204, 404, 405, 413, 416, 501, *RETRIED)
        with self._data("PATCH", self._place(), headers, body, expect) as answer:
            self._require_calm(answer)
            if answer.status in (405, 501) or (answer.status == 404 and start == 0):
                self._monolithic = True  # of no use to a registry that does not know chunks
                self._forget()
                self._begin()
            elif answer.status in (404, 416):
                raise _Again(self._error(answer))
            elif answer.status == 413:
                self._shrink(answer, end - start)
            else:
                self._moved(answer)
                have = parse_upload_range(answer.headers.get("range", ""), self._size)
                self._reached(have if 0 < have < end else end)
                if self._offset <= start:
                    raise _Again(NetworkError(f"{answer.place}: {self._what} does not get beyond byte {start}"))

    def _put(self, body: bytes | StreamedBody) -> None:
        place = self._place()
        place += f"{'&' if '?' in place else '?'}digest={quote(str(self._descriptor.digest), safe=':')}"
        expect = (200, 201, 202, 204, 400, 404, 413, 416, *RETRIED)
        with self._data("PUT", place, _OCTETS, body, expect) as answer:
            self._require_calm(answer)
            if answer.status == 400:
                codes, words = server_words(answer)
                if codes & _WRONG_CONTENT:
                    raise _Refused
                raise NetworkError(f"{answer.place} refuses {self._what} (HTTP 400){f': {words}' if words else ''}")
            if answer.status in (404, 416):
                raise _Again(self._error(answer))
            if answer.status == 413:
                raise self._error(answer)
            self._require_digest(answer)
        self._location = None
        self._reached(self._size)

    def _find_out(self) -> bool:
        """How far the session got; whether the blob is there already, because only the last answer was lost."""
        if (self._offset == self._size or self._monolithic) and self.is_there():
            self._location = None
            self._reached(self._size)
            return True
        if self._location is None or self._monolithic:
            self._forget()
            return False
        with self._request("GET", self._location, expect=(200, 202, 204, 400, 404, 405, 416), retry=True) as answer:
            have = 0
            if answer.status < 300:
                have = parse_upload_range(answer.headers.get("range", ""), self._size)
                self._moved(answer)
        if have:
            self._reached(have)
        else:  # gone, or nothing came through: a new one is as good
            self._forget()
        return False

    # ------------------------------------------------------------------------------------------------------- the rest

    def _request(
        self,
        method: str,
        path: str,
        *,
        expect: Collection[int],
        retry: bool = False,
        mount_from: str | None = None,
    ) -> Answer:
        return self._repository.request(method, path, expect=expect, retry=retry, actions=_PUSH, mount_from=mount_from)

    def _data(
        self, method: str, place: str, headers: dict[str, str], body: bytes | StreamedBody, expect: Collection[int]
    ) -> Answer:
        try:
            return self._repository.request(
                method, place, headers=headers, body=body, expect=expect, retry=False, actions=_PUSH
            )
        except ConnectionBroken as error:
            if not error.transient:
                raise
            raise _Again(error) from None

    def _place(self) -> str:
        if self._location is None:
            raise ValueError("no session was begun")
        return self._location

    def _moved(self, answer: Answer) -> None:
        location = answer.headers.get("location")
        if location:
            self._location = urljoin(answer.url, location)

    def _reached(self, offset: int) -> None:
        self._offset = offset
        self._content.tell(offset)

    def _forget(self) -> None:
        """The next attempt is a new session."""
        self.cancel()
        self._reached(0)

    def _shrink(self, answer: Answer, sent: int) -> None:
        if sent <= _SMALLEST_CHUNK:
            raise self._error(answer)
        self._chunk = max(_SMALLEST_CHUNK, min(self._chunk, sent) // 4)
        self._content.tell(self._offset)

    def _require_calm(self, answer: Answer) -> None:
        if answer.status in RETRIED:
            asked = retry_after(answer.headers)
            error = self._error(answer)
            if asked is not None and asked > LONGEST_WAIT:
                error.hint = f"it asks to wait {asked:.0f} s, longer than is waited here: try again then"
                raise error
            raise _Again(error, asked)

    def _error(self, answer: Answer) -> NetworkError:
        _, words = server_words(answer)
        return NetworkError(
            f"{answer.place} fails at {self._what} (HTTP {answer.status}){f': {words}' if words else ''}"
        )

    def _failed(self, again: _Again) -> None:
        if self._offset - self._mark >= self._earned:
            self._attempt = 0
        self._mark = max(self._mark, self._offset)
        patience = self._repository.patience
        if self._attempt >= patience.retries:
            again.error.message += f"; tried {self._attempt + 1} times"
            raise again.error
        patience.wait(patience.delay(self._attempt, again.asked))
        self._attempt += 1

    def _require_digest(self, answer: Answer) -> None:
        text = answer.headers.get("docker-content-digest", "")
        if text.startswith(self._descriptor.digest.algorithm + ":") and text != str(self._descriptor.digest):
            raise DigestMismatchError(f"{answer.place} stored {text[:200]} where {self._descriptor.digest} was sent")

    def _mismatch(self) -> DigestMismatchError:
        return DigestMismatchError(
            f"the registry finds another digest than {self._descriptor.digest} in what was sent, twice",
            hint="the blob here is right: something on the way changes it",
        )
