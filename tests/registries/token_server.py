"""A small token server, as the distribution project specifies them: both ways to ask, and signed tokens.

It knows one user, lets anybody pull from ``public/…``, remembers what it was asked, and does as it is told by its
attributes where real ones differ. ``readers`` may pull only.
"""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.registries.authority import Authority

__all__ = ["IDENTITY_TOKEN", "Asked", "TokenServer", "start_token_server"]

IDENTITY_TOKEN = "the-refresh-token-of-anna"  # noqa: S105 - of nobody
_ISSUER, _SERVICE = "tests", "registry of the tests"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its method, its parameters, and the user who asked (empty for nobody)."""

    method: str
    parameters: dict[str, list[str]]
    user: str
    password: str

    @property
    def scopes(self) -> list[str]:
        return [word for scope in self.parameters.get("scope", []) for word in scope.split()]


@dataclass
class TokenServer:
    """``url`` is its realm. ``asked`` are the requests so far; the rest says how it behaves."""

    url: str
    authority: Authority
    users: dict[str, str]
    takes_post: bool = True
    lifetime: int = 300
    gives_identity_tokens: bool = True
    readers: set[str] = field(default_factory=set)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        pem, self._certificate = self.authority.signing_key()
        key = load_pem_private_key(pem, None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._key = key

    def registry_config(self) -> dict[str, str]:
        """The part of a registry's configuration that makes it trust this server."""
        bundle = str(self.authority.file)
        return {"realm": self.url, "service": _SERVICE, "issuer": _ISSUER, "rootcertbundle": bundle}

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for ``user``: for what is public, or for everything when it is somebody."""
        access = []
        for scope in scopes:
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            wanted = actions.split(",")
            granted = [one for one in wanted if one == "pull"] if user in self.readers else wanted
            if not user:
                granted = ["pull"] if name.startswith("public/") else []
            if granted:
                access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self._certificate]}
        claims = {
            "iss": _ISSUER,
            "sub": user,
            "aud": _SERVICE,
            "exp": now + self.lifetime,
            "nbf": now - 30,
            "iat": now,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


@contextmanager
def start_token_server(authority: Authority, users: dict[str, str]) -> Iterator[TokenServer]:
    """Start a token server for ``users`` (names and passwords) and stop it at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        tokens = TokenServer(f"http://127.0.0.1:{server.server_address[1]}/token", authority, dict(users))
        server.tokens = tokens  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield tokens
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        user, password = "", ""
        scheme, _, pair = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            user, _, password = base64.b64decode(pair).decode().partition(":")
        parameters = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if not self._knows(parameters, user, password):
            return
        self._give(user, parameters)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        parameters = parse_qs(body.decode(), keep_blank_values=True)
        user, password = (parameters.get(key, [""])[0] for key in ("username", "password"))
        tokens = self._tokens
        if not tokens.takes_post:
            self._record(parameters, user, password)
            self._answer(404, {"error": "not found"})
            return
        if parameters.get("grant_type") == ["refresh_token"]:
            good = parameters.get("refresh_token") == [IDENTITY_TOKEN]
            self._record(parameters, next(iter(tokens.users)) if good else "", "")
            if not good:
                self._answer(401, {"error": "invalid_grant"})
                return
            user = next(iter(tokens.users))
        elif not self._knows(parameters, user, password):
            return
        self._give(user, parameters)

    @property
    def _tokens(self) -> TokenServer:
        tokens: TokenServer = self.server.tokens  # type: ignore[attr-defined]
        return tokens

    def _record(self, parameters: dict[str, list[str]], user: str, password: str) -> None:
        with self._tokens.lock:
            self._tokens.asked.append(Asked(self.command, parameters, user, password))

    def _knows(self, parameters: dict[str, list[str]], user: str, password: str) -> bool:
        self._record(parameters, user, password)
        if user and self._tokens.users.get(user) != password:
            self._answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "incorrect username or password"}]})
            return False
        return True

    def _give(self, user: str, parameters: dict[str, list[str]]) -> None:
        tokens = self._tokens
        scopes = [word for scope in parameters.get("scope", []) for word in scope.split()]
        answer: dict[str, Any] = {"expires_in": tokens.lifetime}
        answer["access_token" if self.command == "POST" else "token"] = tokens.token(user, scopes)
        offline = parameters.get("access_type") == ["offline"] or parameters.get("offline_token") == ["true"]
        if offline and tokens.gives_identity_tokens and user:
            answer["refresh_token"] = IDENTITY_TOKEN
        self._answer(200, answer)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said."""
