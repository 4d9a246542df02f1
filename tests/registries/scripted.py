"""A server that answers as a test says, for what a real registry does not do: lie, stall, break off, redirect."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.registries.authority import Authority

__all__ = ["Asked", "Reply", "Scripted", "serve"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; with ``raw`` these bytes instead of one, after which the connection is closed.

    ``length`` is announced instead of the length of the body, -1 for none at all; then the connection is closed.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    length: int | None = None


@dataclass
class Scripted:
    """``host`` is 127.0.0.1:PORT. ``asked`` are the requests so far."""

    host: str
    url: str
    asked: list[Asked] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        """The requests as ``GET /v2/…``."""
        return [f"{asked.method} {asked.path}" for asked in self.asked]


@contextmanager
def serve(
    script: Callable[[Asked], Reply], *, authority: Authority | None = None, folder: Path | None = None
) -> Iterator[Scripted]:
    """Answer with ``script`` on a free port; over TLS with a certificate of ``authority``, kept in ``folder``."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        if authority is not None and folder is not None:
            files = authority.server_files(folder)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(files["certificate"], files["key"])
            # The handshake is made by the thread of the connection, not by the one that accepts.
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        host = f"127.0.0.1:{server.server_address[1]}"
        scripted = Scripted(host, f"{'https' if authority else 'http'}://{host}")
        server.scripted = scripted  # type: ignore[attr-defined]
        server.script = script  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield scripted
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client has gone: what is tested is the client
            self.close_connection = True

    def answer(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        server.scripted.asked.append(asked)
        reply: Reply = server.script(asked)
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            for line in value.split("\n"):
                self.send_header(name, line)
        length = len(reply.body) if reply.length is None else reply.length
        if length >= 0:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.close_connection = self.close_connection or length != len(reply.body)

    do_CONNECT = do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""
