"""A small HTTP server that can misbehave: requests are read by h11, answers go out by the rules, or raw."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import h11

__all__ = ["Exchange", "HangUp", "Request", "Server"]

Headers = Sequence[tuple[str, str]]
_PIECE = 1 << 18


class HangUp(Exception):
    """Close the connection now, with a reset or without."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__()
        self.reset = reset


@dataclass(frozen=True)
class Request:
    """What a client asked; header names are lower-case."""

    method: str
    target: str
    headers: dict[str, str] = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


class Exchange:
    """One request and the answer to it."""

    def __init__(self, server: Server, connection: h11.Connection, stream: socket.socket, request: Request) -> None:
        self.server = server
        self.request = request
        self.chunked = False
        """Do not announce the length of the answer."""
        self._connection = connection
        self._stream = stream

    def body(self) -> Iterator[bytes]:
        """The body of the request, in pieces."""
        while True:
            event = receive(self._connection, self._stream)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    def read(self) -> bytes:
        """The body of the request, whole."""
        return b"".join(self.body())

    def start(self, status: int, headers: Headers = ()) -> None:
        """Send the head of an answer."""
        self._send(h11.Response(status_code=status, headers=list(headers)))

    def send(self, data: bytes | memoryview) -> None:
        """Send a piece of the body."""
        self._send(h11.Data(data=data))  # type: ignore[arg-type]
        self.server.count(len(data))

    def end(self) -> None:
        """The body is complete."""
        self._send(h11.EndOfMessage())

    def respond(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        """A whole answer."""
        self.start(status, [*headers, ("Content-Length", str(len(body)))])
        if body and self.request.method != "HEAD":
            self.send(body)
        self.end()

    def raw(self, data: bytes | memoryview) -> None:
        """Send what no rule allows; the connection has to be hung up afterwards."""
        self._stream.sendall(data)

    def _send(self, event: h11.Event) -> None:
        for piece in self._connection.send_with_data_passthrough(event) or ():
            self._stream.sendall(piece)


def receive(connection: h11.Connection, stream: socket.socket) -> h11.Event | type[h11.PAUSED]:
    """The next event of a request; HangUp when the client went away."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        try:
            connection.receive_data(stream.recv(_PIECE))
        except OSError:
            raise HangUp from None
    if isinstance(event, h11.ConnectionClosed):
        raise HangUp
    return event  # type: ignore[return-value]


class Server:
    """Listens on 127.0.0.1 while it is entered; ``handle`` answers each request in a thread of its connection."""

    def __init__(self, handle: Callable[[Exchange], None], *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.bytes_sent = 0
        """Bytes of bodies that were sent to all clients."""
        self._handle = handle
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: set[socket.socket] = set()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    def count(self, sent: int) -> None:
        """So many bytes more were sent."""
        with self._lock:
            self.bytes_sent += sent

    def sleep(self, seconds: float) -> None:
        """Wait; HangUp when the server is stopped meanwhile."""
        if self._stopping.wait(seconds):
            raise HangUp

    def __enter__(self) -> Self:
        thread = threading.Thread(target=self._accept, daemon=True)
        self._threads.append(thread)
        thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            with suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            stream.settimeout(30)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                self._open.add(stream)
            thread = threading.Thread(target=self._serve, args=(stream,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, stream: socket.socket) -> None:
        reset = False
        try:
            if self._tls is not None:
                secure = self._tls.wrap_socket(stream, server_side=True)
                with self._lock:
                    self._open.discard(stream)
                    self._open.add(secure)
                stream = secure
            self._converse(stream)
        except HangUp as error:
            reset = error.reset
        except h11.RemoteProtocolError:
            with suppress(OSError):
                stream.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        except (OSError, h11.LocalProtocolError):  # the client went away
            reset = False
        finally:
            with self._lock:
                self._open.discard(stream)
            with suppress(OSError):
                if reset:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    stream.shutdown(socket.SHUT_RDWR)
            stream.close()

    def _converse(self, stream: socket.socket) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            event = receive(connection, stream)
            if not isinstance(event, h11.Request):
                return
            headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in event.headers}
            request = Request(event.method.decode("ascii"), event.target.decode("ascii"), headers)
            with self._lock:
                self.requests.append(request)
            exchange = Exchange(self, connection, stream, request)
            self._handle(exchange)
            for _ in exchange.body():  # what nobody wanted
                pass
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


def only(headers: Iterable[tuple[str, str]], *, without: Iterable[str]) -> list[tuple[str, str]]:
    """``headers`` without those named."""
    dropped = {name.lower() for name in without}
    return [(name, value) for name, value in headers if name.lower() not in dropped]
