"""The transport: one request, one answer, over connections that are kept.

Nothing clever happens here: no redirect is followed, nothing is repeated, no credential is known. Above it stands
:mod:`wclayer.oci.registry.session`, which does all of that. A :class:`Route` says how a host is reached; requests on
equal routes share their connections, also from several threads.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.errors import MissingHeaderBodySeparatorDefect
from typing import TypeAlias
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Timeout, make_headers

from wclayer._version import __version__
from wclayer.errors import IntegrityError, NetworkError, WclayerError
from wclayer.oci.registry.addresses import is_private_address, is_private_host
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.broken import BROKEN_OFF, ConnectionBroken, PrivateAddress, connection_error
from wclayer.oci.registry.proxies import proxy_for, split_proxy
from wclayer.oci.registry.redaction import header_lines, shown_url
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.oci.registry.tls import TlsSettings, make_context
from wclayer.oci.sources import BinarySource

__all__ = ["Answer", "Body", "HttpTransport", "Route", "StreamedBody"]

_POOLS = 64
_CONNECTIONS = 32
_PIECE = 64 << 10  # a piece must get away in the time of a timeout, on slow lines too
_LONGEST_URL = 16 << 10


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """A body that is read while it is sent. ``open`` gives it from its start, each time anew; ``length`` in bytes."""

    open: Callable[[], BinarySource]
    length: int


Body: TypeAlias = bytes | StreamedBody
"""What is sent: small and whole, or read while it is sent."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a host is reached.

    ``proxy`` is that of ``hosts.toml``, which replaces all others; ``public_only`` refuses connections into private
    networks; ``connect_timeout`` is in seconds, None for the one of the settings.
    """

    tls: TlsSettings = field(default_factory=TlsSettings)
    proxy: str | None = None
    public_only: bool = False
    connect_timeout: float | None = None

    def guarded(self) -> Route:
        """The same route, which does not lead into private networks."""
        return replace(self, public_only=True)


class _Guarded:
    """A connection that looks where it led before anything is sent over it."""

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        peer = str(made.getpeername()[0])
        if is_private_address(peer):
            made.close()
            raise PrivateAddress(f"the address {peer} is private")
        return made


class _GuardedHttp(_Guarded, HTTPConnection):
    pass


class _GuardedHttps(_Guarded, HTTPSConnection):
    pass


class _HttpsPool(HTTPSConnectionPool):
    """A pool without urllib3's warning about certificates that are not checked: a person has asked for that."""

    def _validate_conn(self, conn: object) -> None:
        if isinstance(conn, HTTPSConnection) and conn.is_closed:
            conn.connect()


class _GuardedHttpPool(HTTPConnectionPool):
    ConnectionCls = _GuardedHttp


class _GuardedHttpsPool(_HttpsPool):
    ConnectionCls = _GuardedHttps


class HttpTransport:
    """Sends requests. Safe to use from several threads; one of it serves a whole run."""

    def __init__(self, settings: RegistrySettings) -> None:
        self.settings = settings
        self._managers: dict[tuple[Route, str | None, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._closed = False

    def send(
        self,
        method: str,
        url: str,
        *,
        route: Route,
        headers: Mapping[str, str],
        body: Body | None = None,
    ) -> Answer:
        """One request and its answer, whatever its status; the body of the answer is still to be read.

        Raises NetworkError when there is no answer, UsageError and NotFoundError for TLS files and proxies that are no
        use, and what reading ``body`` raises.
        """
        place = shown_url(url)
        host = _require_url(url, place)
        proxy = self._proxy(url, route)
        if route.public_only and is_private_host(host, resolve=False):
            raise connection_error(PrivateAddress(f"the address {host} is private"), place)
        manager = self._manager(route, proxy, secure=url.startswith("https:"))
        sent = {"User-Agent": f"wclayer/{__version__}", "Accept-Encoding": "identity", **headers}
        if isinstance(body, StreamedBody):
            sent["Content-Length"] = str(body.length)
        elif body is not None or method in ("POST", "PUT", "PATCH"):
            sent["Content-Length"] = str(len(body or b""))
        self._trace([f"> {method} {place}", *header_lines(sent.items(), ">")])
        source = _Pieces(body) if isinstance(body, StreamedBody) else None
        timeout = Timeout(
            connect=route.connect_timeout or self.settings.connect_timeout, read=self.settings.read_timeout
        )
        _sending.now = True
        try:
            response = manager.urlopen(
                method,
                url,
                body=iter(source) if source else body,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=timeout,
            )
        except WclayerError:  # of reading the body
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            broken = connection_error(error, place)
            self._trace([f"< {broken.message}"])
            raise broken from error
        finally:
            _sending.now = False
            if source:
                source.close()
        answer = Answer(response, url, method=method)
        if _is_cut(response):
            answer.close()
            raise ConnectionBroken(f"{place}: {BROKEN_OFF}", transient=True, is_garbled=True)
        self._trace([f"< {answer.status} {place}", *header_lines(response.headers.items(), "<")])
        return answer

    def note(self, text: str) -> None:
        """A line for whoever looks at the trace."""
        self._trace([f"* {text}"])

    def close(self) -> None:
        """Close all connections; requests then fail."""
        with self._lock:
            self._closed = True
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            manager.clear()

    def _trace(self, lines: list[str]) -> None:
        if self.settings.trace is not None:
            for line in lines:
                self.settings.trace(line)

    def _proxy(self, url: str, route: Route) -> str | None:
        if route.proxy is not None:
            return route.proxy
        if self.settings.proxy is not None:
            return self.settings.proxy or None
        return proxy_for(url, os.environ)

    def _manager(self, route: Route, proxy: str | None, *, secure: bool) -> urllib3.PoolManager:
        with self._lock:
            if self._closed:
                raise NetworkError("the registry client was closed")
            manager = self._managers.get((route, proxy, secure))
            if manager is None:
                # A context reads all the authorities of the system, which http need not wait for.
                context = make_context(route.tls) if secure else None
                manager = self._managers[route, proxy, secure] = _make_manager(context, route, proxy)
            return manager


def _is_cut(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether an answer broke off in its headers, which http.client takes for their end."""
    if not response.headers:
        return response.version > 10
    # The answer as http.client made it; without it, a digest or a parser will notice.
    original = getattr(response, "_original_response", None)
    defects = getattr(getattr(original, "msg", None), "defects", ())
    return any(isinstance(defect, MissingHeaderBodySeparatorDefect) for defect in defects)


class _Hidden(logging.Filter):
    """Hides in urllib3's log what may open a door, in the lines about our requests: it writes whole addresses."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_sending, "now", False) and isinstance(record.args, tuple):
            record.args = tuple(shown_url(one) if isinstance(one, str) and "?" in one else one for one in record.args)
        return True


_sending = threading.local()
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_Hidden())


def _make_manager(context: ssl.SSLContext | None, route: Route, proxy: str | None) -> urllib3.PoolManager:
    manager: urllib3.PoolManager
    if proxy is None:
        manager = urllib3.PoolManager(_POOLS, ssl_context=context, maxsize=_CONNECTIONS)
    else:
        address, user = split_proxy(proxy)
        headers = make_headers(proxy_basic_auth=user) if user else {}
        manager = urllib3.ProxyManager(
            address, _POOLS, proxy_headers=headers, ssl_context=context, maxsize=_CONNECTIONS
        )
    # Through a proxy the peer is the proxy, which resolves names itself: only what the address says can be judged.
    guarded = route.public_only and proxy is None
    manager.pool_classes_by_scheme = (
        {"http": _GuardedHttpPool, "https": _GuardedHttpsPool}
        if guarded
        else {"http": HTTPConnectionPool, "https": _HttpsPool}
    )
    return manager


def _require_url(url: str, place: str) -> str:
    """The host of ``url``, which must be an address that a request can be sent to; NetworkError."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if (
        not host
        or parts.scheme not in ("http", "https")
        or parts.username is not None
        or len(url) > _LONGEST_URL
        or not url.isascii()
        or any(c <= " " or c == "\x7f" for c in url)
    ):
        raise NetworkError(f"not an address that a request can be sent to: {place}")
    return host


class _Pieces:
    """The pieces of a body, read while they are sent; it fails when there are not as many bytes as announced."""

    def __init__(self, body: StreamedBody) -> None:
        self._source = body.open()
        self._left = body.length

    def __iter__(self) -> Iterator[bytes]:
        buffer = memoryview(bytearray(_PIECE))
        while self._left:
            count = self._source.readinto(buffer[: self._left])
            if not count:
                raise IntegrityError(f"the content to send ends {self._left} bytes too early")
            self._left -= count
            # The socket takes a view as well as bytes; a copy would cost as much as hashing half of it.
            yield buffer[:count]  # type: ignore[misc]

    def close(self) -> None:
        self._source.close()
