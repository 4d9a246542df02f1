"""Token servers: they exchange what a person has for a token that a registry takes, for a short time and a few scopes.

Two ways, both of the distribution project's "Token Authentication": OAuth2 (POST of a form, the only one that takes an
identity token) and the older GET with basic authentication. A registry names its token server, and a password is sent
to whatever it names: so it must be reached by https when the registry is, and not lie in a private network when the
registry does not.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from wclayer.errors import AuthenticationError, FormatError, NetworkError, WclayerError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.authfiles import Credentials
from wclayer.oci.registry.broken import ConnectionBroken
from wclayer.oci.registry.challenge import Challenge
from wclayer.oci.registry.failures import server_words
from wclayer.oci.registry.hosts import Host, origin
from wclayer.oci.registry.redaction import printable, shown_url
from wclayer.oci.registry.redirects import Redirects
from wclayer.oci.registry.retrying import LONGEST_WAIT, RETRIED, Patience, retry_after
from wclayer.oci.registry.secrets import Secret
from wclayer.oci.strictjson import Node, parse_object

__all__ = ["Token", "TokenServer"]

_LIMIT = 1 << 20
_LONGEST_TOKEN = 64 << 10
_TOKEN = re.compile(r"[!-~]+", re.ASCII)
_LIFETIME, _LONGEST_LIFETIME = 60, 24 * 3600
_CLIENT = "wclayer"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it ends on the clock ``time.monotonic``; ``refresh`` is an identity token that came with it."""

    text: Secret
    expires: float
    refresh: Secret | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    body: bytes | None = field(repr=False)
    what: str
    is_verified: bool = False


class TokenServer:
    """Fetches tokens for one client. Safe to use from several threads."""

    def __init__(self, redirects: Redirects, patience: Patience) -> None:
        self._redirects = redirects
        self._patience = patience
        self._without_post: set[str] = set()
        self._lock = threading.Lock()

    def fetch(
        self,
        host: Host,
        challenge: Challenge,
        scopes: Sequence[str],
        credentials: Credentials | None,
        *,
        offline: bool = False,
    ) -> Token:
        """A token for ``scopes``, as ``challenge`` of ``host`` asks for; with ``offline`` an identity token too.

        Raises AuthenticationError when the server refuses, or is one that must not be asked; NetworkError.
        """
        realm = _require_realm(host, challenge.parameters.get("realm", ""))
        service = challenge.parameters.get("service", "")
        asked = _scopes(scopes, challenge)
        if credentials is not None and (credentials.identity_token or credentials.password):
            token = self._post(host, realm, service, asked, credentials, offline=offline)
            if token is not None:
                return token
            if credentials.identity_token is not None:
                raise _refused(host, realm, credentials, "")
        return self._get(host, realm, service, asked, credentials)

    def _post(
        self,
        host: Host,
        realm: str,
        service: str,
        scopes: Sequence[str],
        credentials: Credentials,
        *,
        offline: bool,
    ) -> Token | None:
        """By OAuth2; None when the server does not know that, or does not like what we have that way."""
        with self._lock:
            if realm in self._without_post and credentials.identity_token is None:
                return None
        form = [("service", service), ("client_id", _CLIENT), ("scope", " ".join(scopes))]
        form.append(("access_type", "offline" if offline else "online"))
        if credentials.identity_token is not None:
            form += [("grant_type", "refresh_token"), ("refresh_token", credentials.identity_token.reveal())]
        elif credentials.password is not None:
            form += [("grant_type", "password"), ("username", credentials.username)]
            form.append(("password", credentials.password.reveal()))
        body = urlencode([(key, value) for key, value in form if value or key == "password"]).encode("ascii")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = self._ask(host, "POST", realm, headers, body)
        if answer.status == 501 or (400 <= answer.status < 500 and answer.status not in RETRIED):
            if credentials.identity_token is not None and answer.status in (400, 401, 403):
                _, words = server_words(answer)
                raise _refused(host, realm, credentials, words)
            answer.drain()
            with self._lock:
                self._without_post.add(realm)
            return None
        return _read(answer, realm, host)

    def _get(
        self, host: Host, realm: str, service: str, scopes: Sequence[str], credentials: Credentials | None
    ) -> Token:
        parts = urlsplit(realm)
        query = parse_qsl(parts.query, keep_blank_values=True)
        if service:
            query.append(("service", service))
        query += [("scope", scope) for scope in scopes]
        headers = {"Accept": "application/json"}
        if credentials is not None and credentials.basic is not None:
            query.append(("account", credentials.username))
            headers["Authorization"] = f"Basic {credentials.basic.reveal()}"
        url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))
        answer = self._ask(host, "GET", url, headers, None)
        if answer.status in (400, 401, 403, 404):
            _, words = server_words(answer)
            raise _refused(host, realm, credentials, words)
        return _read(answer, realm, host)

    def _ask(self, host: Host, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Answer:
        """One exchange, again while the server is busy or breaks off; a token server has no state to spoil."""
        at = _token_host(host, url, self._redirects)
        attempt = 0
        while True:
            try:
                answer = self._redirects.follow(
                    at, method, url, headers, _Sent(body, f"the token server of {host.name}")
                )
            except ConnectionBroken as error:
                if not error.transient or error.is_unreachable or attempt >= self._patience.retries:
                    error.message = f"the token server of {host.name}: {error.message}"
                    raise
                delay = self._patience.delay(attempt)
            else:
                asked = retry_after(answer.headers)
                busy = answer.status in RETRIED and attempt < self._patience.retries and (asked or 0) <= LONGEST_WAIT
                if not busy:
                    return answer
                answer.drain()
                delay = self._patience.delay(attempt, asked)
            attempt += 1
            self._patience.wait(delay)


def _token_host(host: Host, url: str, redirects: Redirects) -> Host:
    """The token server as a host: the registry itself, or one that the registry named."""
    own = origin(url) == host.origin
    parts = urlsplit(url)
    return Host(
        registry=host.registry,
        base=f"{parts.scheme}://{parts.netloc}",
        name=parts.netloc,
        route=host.route if own else redirects.route_elsewhere(host),
    )


def _require_realm(host: Host, realm: str) -> str:
    """``realm``, when it is an address that a password may be sent to because ``host`` says so."""
    try:
        parts = urlsplit(realm)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    odd = not realm.isascii() or any(c <= " " for c in realm) or parts.username is not None or len(realm) > 2048
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or odd:
        raise AuthenticationError(f"{host.name} names a token server that is no address: {shown_url(realm)}")
    if host.is_secure and parts.scheme != "https":
        raise AuthenticationError(
            f"{host.name} is reached by https, but its token server by http: {shown_url(realm)}",
            hint="a password is not sent there",
        )
    return realm.partition("#")[0]


def _scopes(own: Sequence[str], challenge: Challenge) -> list[str]:
    """Our scopes, with the actions that the challenge adds for the same resources; those of others are not asked for.

    Without scopes of our own the challenge decides.
    """
    named = challenge.parameters.get("scope", "").split()[:8]
    if not own:
        return [scope for scope in named if _TOKEN.fullmatch(scope)]
    actions: dict[str, list[str]] = {}
    for scope in [*own, *named]:
        resource, _, words = scope.rpartition(":")
        if scope in own or resource in actions:
            known = actions.setdefault(resource, [])
            known += [word for word in words.split(",") if word and word not in known and _TOKEN.fullmatch(word)]
    return [f"{resource}:{','.join(words)}" for resource, words in actions.items()]


def _read(answer: Answer, realm: str, host: Host) -> Token:
    place = shown_url(realm)
    if answer.status != 200:
        _, words = server_words(answer)
        raise NetworkError(
            f"the token server of {host.name}, {place}, answers HTTP {answer.status}" + (f": {words}" if words else "")
        )
    what = f"the answer of the token server {place}"
    raw = answer.read(_LIMIT, what)
    try:
        node = parse_object(raw, what=what, limit=_LIMIT)
        text = node.text("token", "") or node.text("access_token", "")
        refresh = node.text("refresh_token", "")
        lifetime = _lifetime(node)
    except FormatError as error:  # what the parser says of it may hold the token
        raise NetworkError(f"{what} is not the JSON it should be ({error.kind})") from None
    if not _TOKEN.fullmatch(text) or len(text) > _LONGEST_TOKEN:
        raise NetworkError(f"{what} has no token in it" if not text else f"{what} has a token that cannot be one")
    margin = min(10.0, lifetime / 10)
    token = Secret(refresh) if refresh and _TOKEN.fullmatch(refresh) else None
    return Token(Secret(text), time.monotonic() + lifetime - margin, token)


def _lifetime(node: Node) -> float:
    value = node.as_object().get("expires_in")
    seconds = value if isinstance(value, int | float) and not isinstance(value, bool) else _LIFETIME
    return min(float(seconds), _LONGEST_LIFETIME) if seconds > 0 else _LIFETIME


def _refused(host: Host, realm: str, credentials: Credentials | None, words: str) -> WclayerError:
    place = shown_url(realm)
    for secret in (credentials.password, credentials.identity_token) if credentials else ():
        if secret:
            words = words.replace(secret.reveal(), "***")
    said = f": {printable(words)}" if words else ""
    if credentials is None:
        hint = f"log in with: wclayer login {host.registry}"
        return AuthenticationError(
            f"the token server of {host.name}, {place}, lets nobody in without a name{said}", hint=hint
        )
    hint = f"log in again with: wclayer login {host.registry}"
    return AuthenticationError(
        f"the token server of {host.name}, {place}, does not accept {credentials.shown}{said}", hint=hint
    )
