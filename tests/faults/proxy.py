"""A proxy between a client and a registry that does to chosen requests what networks and servers do.

A *fault* is a function that answers one exchange badly. A :class:`Script` says which requests meet which fault, one
after another; all others are passed on as they are. Bytes are counted on the side of the client.
"""

from __future__ import annotations

import http.client
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tests.faults.wire import Exchange, HangUp, Headers, Request, only

__all__ = ["Change", "Fault", "Proxy", "Script", "Where", "always", "as_it_is", "blob_reads", "upload_data"]

Where = Callable[[Request], bool]
Change = Callable[[int, Headers], tuple[int, Headers]]
_Body = Callable[[Iterator[bytes], int], Iterator[bytes]]
_HOP = ("connection", "transfer-encoding", "keep-alive", "host", "content-length", "accept-encoding")
_PIECE = 1 << 18


def blob_reads(request: Request) -> bool:
    """A blob is fetched."""
    return request.method == "GET" and "/blobs/sha256:" in request.path


def upload_data(request: Request) -> bool:
    """Bytes of a blob are sent."""
    return request.method == "PATCH" or (request.method == "PUT" and request.headers.get("content-length", "0") != "0")


def as_it_is(status: int, headers: Headers) -> tuple[int, Headers]:
    """No change."""
    return status, headers


class Proxy:
    """Passes requests on to ``upstream`` (address and port), but for those that meet a fault."""

    def __init__(self, upstream: str, script: Script) -> None:
        self.upstream = upstream
        self.script = script

    def __call__(self, exchange: Exchange) -> None:
        fault = self.script.next(exchange.request)
        if fault is None:
            self.relay(exchange)
        else:
            fault(self, exchange)

    def relay(
        self,
        exchange: Exchange,
        *,
        change: Change = as_it_is,
        without: Iterable[str] = (),
        body: _Body = lambda pieces, _: pieces,
        upload: _Body = lambda pieces, _: pieces,
        raw_length: int | None = None,
    ) -> None:
        """Pass the exchange on.

        ``without`` are headers of the request that get lost, ``change`` alters status and headers of the answer,
        ``body`` its body and ``upload`` that of the request, each given its length. ``raw_length`` is added to the
        announced length of the answer, whatever its body is.
        """
        with self._forwarded(exchange, without, upload) as answer:
            status, headers = change(answer.status, only(answer.getheaders(), without=_HOP))
            length = int(answer.headers.get("content-length", 0))
            pieces = body(iter(lambda: answer.read(_PIECE), b""), length)
            if raw_length is not None:
                head = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in headers)]
                exchange.raw("\r\n".join([*head, f"Content-Length: {length + raw_length}", "", ""]).encode("latin-1"))
                for piece in pieces:
                    exchange.server.count(len(piece))
                    exchange.raw(piece)
                raise HangUp
            silent = exchange.request.method == "HEAD" or status in (204, 304)
            unsaid = exchange.chunked or status == 204
            exchange.start(status, headers if unsaid else [*headers, ("Content-Length", str(length))])
            for piece in pieces if not silent else ():
                exchange.send(piece)
            exchange.end()

    @contextmanager
    def _forwarded(
        self, exchange: Exchange, without: Iterable[str], upload: _Body
    ) -> Iterator[http.client.HTTPResponse]:
        request = exchange.request
        connection = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in only(request.headers.items(), without=[*_HOP, *without]):
                connection.putheader(name, value)
            connection.putheader("Host", request.headers.get("host", self.upstream))
            length = int(request.headers.get("content-length", 0))
            chunked = "transfer-encoding" in request.headers
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif length or request.method in ("POST", "PUT", "PATCH"):
                connection.putheader("Content-Length", str(length))
            connection.endheaders()
            for piece in upload(exchange.body(), length):
                connection.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            if chunked:
                connection.send(b"0\r\n\r\n")
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise HangUp from error
        finally:
            connection.close()


Fault = Callable[[Proxy, Exchange], None]


def always(fault: Fault) -> Iterator[Fault]:
    """The fault again and again."""
    return itertools.repeat(fault)


class Script:
    """The first request that is ``where`` meets the first of ``faults``, the second the second, and so on."""

    def __init__(self, where: Where = blob_reads, faults: Iterable[Fault | None] = ()) -> None:
        self._where = where
        self._faults = iter(faults)
        self._lock = threading.Lock()

    def next(self, request: Request) -> Fault | None:
        """The fault that ``request`` meets; None when there is none."""
        if not self._where(request):
            return None
        with self._lock:
            return next(self._faults, None)
