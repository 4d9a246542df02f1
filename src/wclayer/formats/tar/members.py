"""Members of a tar archive as Go's ``archive/tar`` sees them: extended headers, long names and sparse maps resolved.

A member is what a header block and everything that modifies it say together. Only after that do the rules of Windows
layers begin (see :mod:`wclayer.formats.tar.reader`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.formats.tar.header import BLOCK, GNU, ZERO_BLOCK, RawHeader, extension_size, parse_block
from wclayer.formats.tar.pax import MAX_RECORDS, parse_integer, parse_records, parse_time, record_pairs
from wclayer.formats.tar.slabs import SlabStream
from wclayer.formats.tar.sparse import REPEATED, Ranges, checked, join_pairs, old_gnu_map, pax_map
from wclayer.ntfs.names import decode_wtf8

__all__ = ["HeaderRecorder", "Member", "Members", "merge_records"]

_NO_RECORDS: dict[bytes, bytes] = {}
_WITHOUT_BODY = frozenset(b"123456")
_EXTENDED, _GLOBAL, _LONG_NAME, _LONG_LINK, _SPARSE = b"xgLKS"
_MODIFIERS = frozenset(b"xLK")
_FILE, _FOLDER = b"05"
_USUAL: Final = 3 * BLOCK
"""Room for the records of nearly every member, and the block behind them."""


class HeaderRecorder(Protocol):
    """Takes what is needed to write an archive again byte for byte: everything that is not the body of a file."""

    def segment(self, data: bytes) -> None:
        """Bytes of the archive outside of bodies, in order."""

    def body(self, ordinal: int, offset: int, length: int) -> None:
        """Here follow ``length`` bytes of the content of member ``ordinal``, from ``offset`` of its logical data.

        Told before the first of them is handed out; who asks for a body has to take all of it.
        """


class Member:
    """One member.

    ``type`` is the type flag as a byte value (a NUL flag is resolved to ``0`` or ``5``). ``size`` is the logical size
    that the headers state; ``stored`` is how many bytes of body follow; ``ranges`` is the map of a sparse file. Times
    are nanoseconds since 1970, None where no header has one. ``pax`` holds the records, empty ones too.
    """

    __slots__ = (
        "atime",
        "ctime",
        "header",
        "linkname",
        "mtime",
        "name",
        "ordinal",
        "pax",
        "ranges",
        "size",
        "stored",
        "type",
    )

    def __init__(self, header: RawHeader, pax: dict[bytes, bytes], ordinal: int) -> None:
        self.header = header
        self.name, _, self.size, self.mtime, self.type, self.linkname, _, _, self.atime, self.ctime = header
        self.pax = pax
        self.ordinal = ordinal
        self.stored = 0
        self.ranges: Ranges | None = None


class Members:
    """Iterates the members of an archive.

    The body of the current member is read with :meth:`body`; one that was not read is passed over when the next member
    is asked for. A ``recorder`` is told everything else, and is told of the bodies where they were.

    After the last member ``end_marked`` tells whether the archive says that it ends there, and ``dangling`` whether
    extended headers came last, which belong to nothing.
    """

    def __init__(self, stream: SlabStream, recorder: HeaderRecorder | None = None) -> None:
        self.end_marked = True
        self.dangling = False
        self._stream = stream
        self._recorder = recorder
        # Nothing that refers to this object: with it the memory of the slabs must go at once.
        self._upto = stream.upto if recorder is None else partial(_recorded, stream.upto, recorder.segment)
        self._ordinal = 0
        self._left = 0
        self._padding = 0
        self._body_recorded = False
        self._current: Member | None = None

    def __iter__(self) -> Iterator[Member]:
        while (member := self.next()) is not None:
            yield member

    def next(self) -> Member | None:
        """The next member, None at the end of the archive. Raises FormatError for a malformed archive."""
        previous = self._current
        try:
            pax = _NO_RECORDS
            long_name = long_link = b""
            if self._left or (ahead := self._usual()) is None:
                self._finish_body()
                self._current = None
                block = self._upto(BLOCK)
            else:
                self._current = None
                data, block = ahead
                pax = _records(data)
            while True:
                if len(block) == BLOCK and block[156] == _EXTENDED and (size := extension_size(block)) >= 0:
                    data, block = self._special(size, BLOCK)
                    pax = _records(data)
                    continue
                header = self._header(block)
                if header is None:
                    self.dangling = bool(pax or long_name or long_link)
                    return None
                kind = header.type
                if kind not in _MODIFIERS:
                    break
                data, block = self._special(header.size, BLOCK)
                if kind == _EXTENDED:
                    pax = _records(data)
                elif kind == _LONG_NAME:
                    long_name = data.partition(b"\0")[0]
                else:
                    long_link = data.partition(b"\0")[0]
            if kind == _GLOBAL:
                return self._global(header)
            member = self._current = Member(header, pax, self._ordinal)
            self._ordinal += 1
            if pax:
                merge_records(member, pax)
            if long_name:
                member.name = long_name
            if long_link:
                member.linkname = long_link
            if not kind:
                member.type = kind = _FOLDER if member.name.endswith(b"/") else _FILE
            self._open_body(member, kind)
        except WclayerError as error:
            raise self._placed(error, previous) from None
        return member

    def _usual(self) -> tuple[bytes, bytes] | None:
        """An extended header's body and the block behind it, as nearly every member begins, in one go.

        None unless all of it, with the padding before, is there to be seen.
        """
        start = self._padding
        body = start + BLOCK
        raw = self._stream.peek(body + _USUAL)
        if len(raw) < body + BLOCK or raw[start + 156] != _EXTENDED:
            return None
        size = extension_size(raw[start:body])
        if size < 0 or size > MAX_RECORDS:
            return None
        end = body + size + -size % BLOCK + BLOCK
        raw = raw[:end] if end <= len(raw) else self._stream.peek(end)
        if len(raw) < end:
            return None
        self._stream.advance(end)
        self._padding = 0
        if self._recorder is not None:
            self._recorder.segment(raw)
        return raw[body : body + size], raw[-BLOCK:]

    def _placed(self, error: WclayerError, previous: Member | None) -> WclayerError:
        """``error`` with its place: the member it is about, or the one behind which nothing could be read."""
        if self._current is not None:
            return error.locate(path=decode_wtf8(self._current.name))
        if previous is not None:
            error.message += f", behind {decode_wtf8(previous.name)}"
        return error

    def keep_body_as_header(self, member: Member) -> None:
        """Treat the body of a member that becomes no file as header bytes. LimitError when it is over a megabyte."""
        if member.stored > MAX_RECORDS:
            raise LimitError(f"{member.stored} bytes of data where none belong")
        self._pass_over_body()

    def body(self, length: int) -> Iterator[memoryview]:
        """The whole body of the current member in pieces; ``length`` is its ``stored``.

        Raises FormatError (``unexpected-eof``) when the archive ends before, and when a sparse map asks for more or
        less than is stored.
        """
        member = self._current
        if member is None or length != self._left:
            raise FormatError("the map of a sparse file does not fit the data stored for it", kind="unexpected-eof")
        if self._recorder is not None and length:
            self._body_recorded = True
            for offset, count in member.ranges if member.ranges is not None else ((0, length),):
                self._recorder.body(member.ordinal, offset, count)
        return self._pieces(member, length)

    def span(self, length: int) -> int:
        """Where the whole body lies in shared memory; -1, and nothing is passed over, if not in one piece."""
        self.body(length)  # which records it
        member = self._current
        try:
            offset = self._stream.span(length)
        except WclayerError as error:
            raise self._placed(error, member) from None
        if offset >= 0:
            self._left = 0
        return offset

    def places(self, length: int) -> Iterator[tuple[int, int]]:
        """What :meth:`body` gives, as offset in shared memory and length; only after :meth:`span` found nothing."""
        member = self._current
        try:
            for offset, count in self._stream.places(length):
                self._left -= count
                yield offset, count
        except WclayerError as error:
            raise self._placed(error, member) from None

    def _pieces(self, member: Member, length: int) -> Iterator[memoryview]:
        try:
            for piece in self._stream.pieces(length):
                self._left -= len(piece)
                yield piece
        except WclayerError as error:
            raise error.locate(path=decode_wtf8(member.name)) from None

    # ------------------------------------------------------------------ headers

    def _take(self, count: int) -> bytes:
        data = self._upto(count)
        if len(data) != count:
            raise FormatError("the archive ends inside the map of a sparse file", kind="unexpected-eof")
        return data

    def _header(self, block: bytes) -> RawHeader | None:
        """``block`` parsed, or None when it is, or is missing because of, the end of the archive."""
        if len(block) != BLOCK:
            if not block:
                self.end_marked = False
                return None
            raise FormatError("the archive ends inside a header", kind="unexpected-eof")
        if not block[0] and block == ZERO_BLOCK:
            self._end()
            return None
        header = parse_block(block)
        if header.size < 0 and header.type not in _WITHOUT_BODY:
            raise FormatError("the size in a tar header is negative", kind="tar-header")
        return header

    def _end(self) -> None:
        """After a first zero block: another one, or nothing at all. What follows means nothing."""
        block = self._upto(BLOCK)
        if block and len(block) != BLOCK:
            raise FormatError("the archive ends inside its end mark", kind="unexpected-eof")
        if block and block != ZERO_BLOCK:
            raise FormatError("a header follows an end mark that was cut short", kind="tar-header")
        for piece in self._stream.rest():
            if self._recorder is not None:
                self._recorder.segment(bytes(piece))

    def _special(self, size: int, ahead: int) -> tuple[bytes, bytes]:
        """The body of an extended header, and up to ``ahead`` bytes behind it: one read instead of three."""
        if size > MAX_RECORDS:
            raise FormatError(f"{size} bytes of extended header, {MAX_RECORDS} at most", kind="header-too-long")
        whole = size + -size % BLOCK
        data = self._upto(whole + ahead)
        if len(data) < size:
            raise FormatError("the archive ends inside an extended header", kind="unexpected-eof")
        return data[:size], data[whole:]

    def _global(self, header: RawHeader) -> Member:
        """A global header as Go delivers it: a member of its own, without effect on the others.

        It has its records and no other field. If they make no sense even the records are left out.
        """
        data, _ = self._special(header.size, 0)
        member = self._current = Member(header, _records(data), self._ordinal)
        self._ordinal += 1
        try:
            merge_records(member, member.pax)
        except FormatError:
            member.pax, member.name = _NO_RECORDS, header.name
        member.size = 0
        member.linkname = b""
        member.mtime = member.atime = member.ctime = None
        return member

    # ------------------------------------------------------------------ bodies

    def _open_body(self, member: Member, kind: int) -> None:
        size = member.size
        if kind in _WITHOUT_BODY:
            if member.pax and pax_map(member.pax, self._take_of_body) is not None:
                raise FormatError("a sparse map for what has no data", kind="tar-header")
            return
        if size < 0:
            raise FormatError("the size of a tar member is negative", kind="tar-header")
        if size:
            self._padding = -size % BLOCK
            member.stored = self._left = size
            self._body_recorded = False
        if kind == _SPARSE:
            if member.header.dialect != GNU:
                raise FormatError("a sparse file in a dialect that has none", kind="tar-header")
            member.size, ranges = old_gnu_map(member.header.block, self._take)
            member.ranges = checked(ranges, member.size, size)
        elif member.pax:
            self._open_pax_sparse(member)

    def _open_pax_sparse(self, member: Member) -> None:
        found = pax_map(member.pax, self._take_of_body)
        if found is None:
            return
        ranges, used = found
        pax = member.pax
        member.name = pax.get(b"GNU.sparse.name") or member.name
        size = pax.get(b"GNU.sparse.size") or pax.get(b"GNU.sparse.realsize")
        member.size = parse_integer(size) if size else member.size
        member.stored -= used
        member.ranges = checked(ranges, member.size, member.stored)

    def _take_of_body(self, count: int) -> bytes:
        if count > self._left:
            raise FormatError("the map of a sparse file is longer than its body", kind="tar-header")
        self._left -= count
        return self._take(count)

    def _finish_body(self) -> None:
        if self._left:
            self._pass_over_body()
        if self._padding:
            # Behind the last body the padding may be missing.
            self._upto(self._padding)
            self._padding = 0

    def _pass_over_body(self) -> None:
        """A body that nobody wanted becomes header bytes, so that the record still has every byte."""
        if self._recorder is None or self._body_recorded:
            self._stream.skip(self._left)
        else:
            for piece in self._stream.pieces(self._left):
                self._recorder.segment(bytes(piece))
        self._left = 0


def _recorded(upto: Callable[[int], bytes], segment: Callable[[bytes], None], count: int) -> bytes:
    data = upto(count)
    segment(data)
    return data


def _records(data: bytes) -> dict[bytes, bytes]:
    records = parse_records(data)
    if REPEATED[0] in records or REPEATED[1] in records:
        sparse_map = join_pairs(record_pairs(data))
        for key in REPEATED:
            records.pop(key, None)
        records[b"GNU.sparse.map"] = sparse_map
    return records


def merge_records(member: Member, pax: dict[bytes, bytes]) -> None:
    """Let the records override the header; an empty value overrides nothing. Raises FormatError (``tar-header``)."""
    get = pax.get
    if value := get(b"path"):
        member.name = value
    if value := get(b"linkpath"):
        member.linkname = value
    if value := get(b"mtime"):
        member.mtime = parse_time(value)
    if value := get(b"atime"):
        member.atime = parse_time(value)
    if value := get(b"ctime"):
        member.ctime = parse_time(value)
    if value := get(b"size"):
        member.size = parse_integer(value)
    if value := get(b"uid"):
        parse_integer(value)
    if value := get(b"gid"):
        parse_integer(value)
