"""Redirects, followed by hand: what was meant for one host is not told to another.

At each step, when scheme, host or port change, everything that was meant for the first host is left behind
(``Authorization``, client certificate, the headers of ``hosts.toml``), and the way into a private network is closed
unless the registry is in one itself. From https to http only content goes that a digest vouches for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from wclayer.errors import NetworkError
from wclayer.oci.registry.addresses import is_private_host
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.hosts import Host, origin
from wclayer.oci.registry.http import Body, HttpTransport, Route
from wclayer.oci.registry.redaction import shown_url
from wclayer.oci.registry.tls import TlsSettings

__all__ = ["Redirects"]

_MOST = 10
_ALWAYS = frozenset({301, 302, 303, 307, 308})
_WITH_BODY = frozenset({307, 308})
_HARMLESS = frozenset({"accept", "range", "if-range", "if-match", "content-type", "content-length", "content-range"})


class _Sent(Protocol):
    @property
    def body(self) -> Body | None: ...

    @property
    def is_verified(self) -> bool: ...

    @property
    def what(self) -> str: ...


class Redirects:
    """Follows redirects over a transport."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self._private: dict[str, bool] = {}
        self._lock = threading.Lock()

    def follow(self, host: Host, method: str, url: str, headers: Mapping[str, str], sent: _Sent) -> Answer:
        """The answer at the end of the redirects from ``url``, which ``host`` was to answer; raises NetworkError."""
        seen: set[str] = set()
        left_home = False
        while True:
            seen.add(url)
            at_home = origin(url) == host.origin and not left_home
            left_home = not at_home
            answer = self._transport.send(
                method,
                url,
                route=host.route if at_home else self.route_elsewhere(host),
                headers=headers if at_home else _harmless(headers),
                body=sent.body,
            )
            location = _location(answer, method)
            if location is None:
                return answer
            answer.drain()
            target = _target(url, location)
            target = self.upgraded(host, target)
            shown = shown_url(target)
            if target in seen:
                raise NetworkError(f"{sent.what}: {host.name} leads in a circle of redirects, over {shown}")
            if len(seen) > _MOST:
                raise NetworkError(f"{sent.what}: {host.name} leads over more than {_MOST} redirects, then to {shown}")
            if url.startswith("https:") and not target.startswith("https:") and not sent.is_verified:
                raise NetworkError(f"{sent.what}: {host.name} leads from https to {shown}, which nobody vouches for")
            url = target

    def upgraded(self, host: Host, url: str) -> str:
        """``url``, with https where it names ``host`` itself and the host was asked by https.

        Registries behind a proxy that speaks TLS for them often do not know that it does.
        """
        if not host.is_secure or not url.startswith("http://"):
            return url
        try:
            parts, base = urlsplit(url), urlsplit(host.base)
            same = parts.hostname == base.hostname and parts.port in (None, 80, base.port)
        except ValueError:
            return url
        return parts._replace(scheme="https", netloc=base.netloc).geturl() if same else url

    def route_elsewhere(self, host: Host) -> Route:
        """How hosts are reached that an answer of ``host`` names: trusting the same, but showing nothing."""
        tls = TlsSettings(host.route.tls.ca_files, None, host.route.tls.verify)
        # A host that was only to be reached in public does not become trusted by what its name resolves to meanwhile.
        public_only = host.route.public_only or not self._may_be_private(host)
        return Route(tls, host.route.proxy, public_only=public_only)

    def _may_be_private(self, host: Host) -> bool:
        if self._transport.settings.allow_private_urls:
            return True
        name = urlsplit(host.base).hostname or ""
        with self._lock:
            known = self._private.get(name)
        if known is None:
            known = is_private_host(name)
            with self._lock:
                self._private[name] = known
        return known


def _location(answer: Answer, method: str) -> str | None:
    """Where the answer leads; None when it is the answer."""
    allowed = _ALWAYS if method in ("GET", "HEAD") else _WITH_BODY
    return answer.headers.get("location") or None if answer.status in allowed else None


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location).partition("#")[0]
    except ValueError:
        raise NetworkError(f"{shown_url(url)} leads to what is no address") from None


def _harmless(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HARMLESS}
