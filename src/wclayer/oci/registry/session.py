"""A request to a registry as it is meant: to the right host, as the right person, again when that can help.

Around the transport, from the inside out: redirects are followed by hand, so that credentials stay with the host they
are for and nobody is sent into a private network; an answer 401 is met once with what it asks for; what is transient is
repeated with growing delays; and where mirrors stand before a server, the next host is asked when one fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from wclayer.errors import AuthenticationError, NetworkError, NotFoundError, UnsupportedError, WclayerError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.broken import ConnectionBroken
from wclayer.oci.registry.failures import failure
from wclayer.oci.registry.hosts import Host, origin
from wclayer.oci.registry.http import Body, HttpTransport, Route
from wclayer.oci.registry.redirects import Redirects
from wclayer.oci.registry.retrying import LONGEST_WAIT, RETRIED, Patience, retry_after

__all__ = ["Authorizer", "Request", "Session"]

_PASSED_ON = (NetworkError, NotFoundError, AuthenticationError, UnsupportedError)
_SPEAKS_TLS = (b"HTTP request to an HTTPS server", b"plain HTTP request was sent to HTTPS port")
_MIRROR_RETRIES = 1
_PEEKED = 1024
_DOWN = 60.0  # seconds in which a mirror that cannot be reached is not asked again


class Authorizer(Protocol):
    """Whoever knows what to say to a host; see :mod:`wclayer.oci.registry.authorizer`."""

    @property
    def account(self) -> str:
        """Whose credentials are used, for messages; empty for nobody's."""

    @property
    def login(self) -> str:
        """What to log in to when they do not do; empty when that makes no sense."""

    @property
    def problems(self) -> Sequence[str]:
        """What went wrong while credentials were searched for."""

    def header(self, scopes: Sequence[str]) -> str | None:
        """The ``Authorization`` for ``scopes``, as far as it is known what the host wants."""

    def challenged(self, answer: Answer, scopes: Sequence[str], sent: str | None) -> bool:
        """Learn from an answer 401 to a request with the header ``sent``; whether there is something new to say."""

    def hide(self, text: str) -> str:
        """``text`` without the secrets that were sent."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked.

    ``path`` is below the API of a host, or a whole address; ``expect`` are the statuses that are an answer, all others
    being errors about ``what``; ``scopes`` are what a token must allow. ``is_verified`` is true for content that its
    digest vouches for, which may come over an unsafe way.
    """

    method: str
    path: str
    what: str
    expect: Collection[int]
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = field(default=None, repr=False)
    retry: bool = True
    is_verified: bool = False

    @property
    def is_absolute(self) -> bool:
        """Whether ``path`` is a whole address."""
        return self.path.startswith(("http://", "https://"))


class Session:
    """Sends requests for one client. Safe to use from several threads."""

    def __init__(self, transport: HttpTransport, patience: Patience) -> None:
        self._transport = transport
        self._patience = patience
        self._redirects = Redirects(transport)
        self._lock = threading.Lock()
        self._reached: set[str] = set()
        self._down: dict[str, float] = {}
        self._switched: dict[str, Host] = {}

    def ask(self, hosts: Sequence[tuple[Host, Authorizer]], request: Request) -> Answer:
        """The answer of the first of ``hosts`` that has one, its status one of those expected.

        Raises AuthenticationError, NotFoundError, UnsupportedError and NetworkError, in which the failures of mirrors
        are mentioned too.
        """
        failed: list[str] = []
        for host, authorizer in hosts[:-1]:
            if self._down.get(host.origin, 0.0) > time.monotonic():
                continue
            try:
                answer = self._ask(host, authorizer, request, retries=min(self._patience.retries, _MIRROR_RETRIES))
                if answer.status < 400:
                    return answer
                raise failure(answer, request.what, host=host.name, hide=authorizer.hide)
            except _PASSED_ON as error:
                if isinstance(error, ConnectionBroken):
                    self._down[host.origin] = time.monotonic() + _DOWN
                self._transport.note(f"{host.name} failed, asking the next host: {error.message}")
                failed.append(error.message)
        host, authorizer = hosts[-1]
        try:
            return self._ask(host, authorizer, request, retries=self._patience.retries)
        except WclayerError as error:
            if failed:
                error.message = f"{error.message}; before that {'; '.join(failed)}"
            if isinstance(error, AuthenticationError | NotFoundError) and authorizer.problems:
                error.message = "; ".join([error.message, *authorizer.problems])
            raise

    def _ask(self, host: Host, authorizer: Authorizer, request: Request, *, retries: int) -> Answer:
        attempt = 0
        while True:
            delay = 0.0
            try:
                answer = self._authorized(self._current(host), authorizer, request)
            except ConnectionBroken as error:
                first = error.is_unreachable and host.origin not in self._reached
                if not request.retry or not error.transient or first or attempt >= retries:
                    raise
                delay, reason = self._patience.delay(attempt), error.message
            else:
                self._reached.add(host.origin)
                if answer.status in request.expect:
                    return answer
                asked = retry_after(answer.headers)
                elsewhere = origin(answer.url) != self._current(host).origin
                again = answer.status in RETRIED or (elsewhere and answer.status in (401, 403))
                if not again or not request.retry or attempt >= retries or (asked or 0) > LONGEST_WAIT:
                    raise self._failure(answer, host, authorizer, request, asked, elsewhere=elsewhere)
                answer.drain()
                delay, reason = self._patience.delay(attempt, asked), f"{answer.place}: HTTP {answer.status}"
            attempt += 1
            self._transport.note(f"{reason}; attempt {attempt + 1} of {retries + 1} in {delay:.1f} s")
            self._patience.wait(delay)

    def _failure(
        self,
        answer: Answer,
        host: Host,
        authorizer: Authorizer,
        request: Request,
        asked: float | None,
        *,
        elsewhere: bool,
    ) -> WclayerError:
        error = failure(
            answer,
            request.what,
            host=origin(answer.url).partition("://")[2] if elsewhere else host.name,
            hide=authorizer.hide,
            credentials=authorizer.account,
            login="" if elsewhere else authorizer.login,
        )
        if asked is not None and asked > LONGEST_WAIT:
            error.hint = f"it asks to wait {asked:.0f} s, longer than is waited here: try again then"
        return error

    def _authorized(self, host: Host, authorizer: Authorizer, request: Request) -> Answer:
        """One exchange with its redirects; an answer 401 is met once."""
        sent = self._headers(host, authorizer, request)
        answer = self._guessed(host, request, sent)
        if answer.status != 401 or origin(answer.url) != origin(self._url(self._current(host), request)):
            return answer
        host = self._current(host)
        try:
            at_home = origin(answer.url) == host.origin
            if not at_home or not authorizer.challenged(answer, request.scopes, sent.get("Authorization")):
                return answer
        except WclayerError:
            answer.close()
            raise
        answer.drain()
        headers = self._headers(host, authorizer, request)
        return self._redirects.follow(host, request.method, self._url(host, request), headers, request)

    def _headers(self, host: Host, authorizer: Authorizer, request: Request) -> dict[str, str]:
        headers = dict(request.headers)
        if origin(self._url(host, request)) == host.origin:
            headers |= dict(host.headers)
            authorization = authorizer.header(request.scopes)
            if authorization is not None:
                headers["Authorization"] = authorization
        return headers

    def _url(self, host: Host, request: Request) -> str:
        return self._redirects.upgraded(host, request.path) if request.is_absolute else host.url(request.path)

    def _guessed(self, host: Host, request: Request, headers: dict[str, str]) -> Answer:
        """The exchange; where http was only a guess and the host of this machine speaks TLS, it is spoken instead."""
        url = self._url(host, request)
        if not host.may_switch or host.origin in self._reached or origin(url) != host.origin:
            return self._redirects.follow(host, request.method, url, headers, request)
        plain: Answer | ConnectionBroken
        try:
            plain = self._redirects.follow(host, request.method, url, headers, request)
        except ConnectionBroken as broken:
            if not broken.is_garbled:
                raise
            plain = broken
        if isinstance(plain, Answer) and not _may_speak_tls(plain):
            return plain
        secure = replace(host, base=host.base.replace("http:", "https:", 1), may_switch=False)
        try:
            answer = self._redirects.follow(secure, request.method, self._url(secure, request), headers, request)
        except ConnectionBroken as broken:
            if "certificate" in broken.message or (isinstance(plain, Answer) and request.method != "HEAD"):
                if isinstance(plain, Answer):
                    plain.close()
                raise
            if isinstance(plain, Answer):
                return plain
            raise plain from None
        if isinstance(plain, Answer):
            plain.close()
        with self._lock:
            self._switched[host.base] = secure
        return answer

    def _current(self, host: Host) -> Host:
        return self._switched.get(host.base, host)

    def route_elsewhere(self, host: Host) -> Route:
        """How hosts are reached that an answer of ``host`` names."""
        return self._redirects.route_elsewhere(host)


def _may_speak_tls(answer: Answer) -> bool:
    """Whether an answer in http says that https is spoken there; to a HEAD nobody can say it."""
    if answer.status != 400:
        return False
    return answer.method == "HEAD" or any(words in answer.peek(_PEEKED) for words in _SPEAKS_TLS)
