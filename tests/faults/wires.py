"""Other things between client and registry than one plain proxy: a token server, a second host, TLS."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager as Context
from contextlib import contextmanager

import trustme

from tests.faults.proxy import Proxy
from tests.faults.wire import Exchange, HangUp, Headers, Server

__all__ = ["Wire", "closed_door", "elsewhere", "plain", "tls", "tokens"]

Wire = Callable[[Proxy], Context[Server]]


def plain(proxy: Proxy) -> Context[Server]:
    """The proxy, and nothing else."""
    return Server(proxy)


def tls(proxy: Proxy) -> Context[Server]:
    """The proxy, speaking TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return Server(proxy, tls=context)


def closed_door(proxy: Proxy) -> Context[Server]:
    """Every connection is closed without an answer."""

    def handle(exchange: Exchange) -> None:
        raise HangUp

    return Server(handle)


def tokens(*, uses: int, tired_after: int | None = None) -> Wire:
    """A token is wanted, and each is good for ``uses`` requests; after ``tired_after`` requests none is good at all."""

    def wire(proxy: Proxy) -> Context[Server]:
        left: dict[str, int] = {}
        numbers, answered = itertools.count(1), itertools.count(1)

        def handle(exchange: Exchange) -> None:
            request = exchange.request
            if request.path == "/token":
                token = f"token-{next(numbers)}"
                left[token] = uses
                exchange.respond(200, [("Content-Type", "application/json")], json.dumps({"token": token}).encode())
                return
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            left[token] = left.get(token, 0) - 1
            if left[token] < 0 or (tired_after is not None and next(answered) > tired_after):
                exchange.read()
                realm = f'Bearer realm="http://{exchange.server.host}/token",service="here"'
                exchange.respond(401, [("WWW-Authenticate", realm)])
                return
            proxy(exchange)

        return Server(handle)

    return wire


def elsewhere(where: Callable[[Exchange], bool], location: bool = False) -> Wire:
    """Basic credentials are wanted, and what is ``where`` is done by a second host, which wants none.

    The way there is a redirect, or with ``location`` the ``Location`` of an upload.
    """

    @contextmanager
    def wire(proxy: Proxy) -> Iterator[Server]:
        def second(exchange: Exchange) -> None:
            told = {"authorization", "cookie"} & set(exchange.request.headers)
            if told:
                exchange.read()
                exchange.respond(400, body=b"what was for another host came here")
            else:
                proxy(exchange)

        def first(exchange: Exchange) -> None:
            request = exchange.request
            if "authorization" not in request.headers:
                exchange.read()
                exchange.respond(401, [("WWW-Authenticate", 'Basic realm="here"')])
            elif where(exchange) and not location:
                exchange.respond(307, [("Location", f"http://{other.host}{request.target}")])
            elif where(exchange):
                proxy.relay(exchange, change=moved, without=["authorization"])
            else:
                proxy.relay(exchange, without=["authorization"])

        def moved(status: int, headers: Headers) -> tuple[int, Headers]:
            def there(value: str) -> str:
                path = value.partition("://")[2].partition("/")[2] if "://" in value else value.lstrip("/")
                return f"http://{other.host}/{path}"

            return status, [(name, there(value) if name.lower() == "location" else value) for name, value in headers]

        with Server(second) as other, Server(first) as server:
            other.count = server.count  # type: ignore[method-assign]
            yield server

    return wire
