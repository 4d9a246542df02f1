"""Files with credentials: ``config.json`` of Docker and ``auth.json`` of containers/image, which share one form.

Read leniently where programs differ (keys with or without scheme and ``/v1/``), strictly where a mistake would send a
secret to the wrong place. Written so that everything else in the file stays, by replacing it as a whole, readable for
its owner only.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError, StoreError
from wclayer.oci.registry.names import DOCKER_HUB
from wclayer.oci.registry.secrets import Secret
from wclayer.oci.strictjson import Node, parse_object

__all__ = [
    "AuthFile",
    "Credentials",
    "canonical_key",
    "changed",
    "parse_auth_file",
    "read_auth_file",
    "write_auth_file",
]

_LIMIT = 4 << 20
_HUB_KEYS = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_PRINTABLE_TOKEN = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name with a password, or a token.

    An identity token is exchanged by a token server; a registry token is sent as it is. ``source`` says where they are
    from, for messages.
    """

    username: str
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None
    source: str = ""

    @property
    def shown(self) -> str:
        """For messages: whose they are and where they are from."""
        if self.registry_token:
            return f"the registry token from {self.source}"
        if self.identity_token:
            return f"the identity token from {self.source}"
        return f"the password of {self.username!r} from {self.source}"

    @property
    def basic(self) -> Secret | None:
        """What HTTP's basic authentication sends; None without a password."""
        if self.password is None:
            return None
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return Secret(base64.b64encode(pair).decode("ascii"))


@dataclass(frozen=True, slots=True)
class AuthFile:
    """One file. ``document`` is all of it, for writing it again."""

    place: str
    document: Mapping[str, Any] = field(repr=False)
    auths: Mapping[str, Node] = field(repr=False)
    helpers: Mapping[str, str]
    store: str

    def helper_for(self, host: str, repository: str) -> str:
        """The helper for a repository, empty for none."""
        return next((self.helpers[key] for key in _keys(host, repository) if key in self.helpers), "")

    def credentials_for(self, host: str, repository: str, source: str) -> Credentials | None:
        """The credentials with the longest key that fits; FormatError when they cannot be read."""
        for key in _keys(host, repository):
            node = self.auths.get(key)
            if node is not None:
                found = _credentials(node, source)
                if found is not None:
                    return found
        return None


def canonical_key(key: str) -> str:
    """A key of ``auths`` as ``HOST[/PATH]``: without scheme, version and slash at the end, Docker Hub by one name."""
    bare = re.sub(r"\A[A-Za-z]+://", "", key)
    bare = re.sub(r"/(?:v[12]/?)?\Z", "", bare)
    host, slash, path = bare.partition("/")
    host = host.lower()
    return (DOCKER_HUB if host in _HUB_KEYS else host) + slash + path


def _keys(host: str, repository: str) -> list[str]:
    """The keys that fit a repository, the longest first."""
    parts = repository.split("/") if repository else []
    return [f"{host}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1)] + [host]


def read_auth_file(path: Path) -> AuthFile | None:
    """The file at ``path``, None when there is none; FormatError, LimitError, StoreError."""
    try:
        with path.open("rb") as file:
            raw = file.read(_LIMIT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return parse_auth_file(raw, str(path))


def parse_auth_file(raw: bytes, place: str) -> AuthFile:
    """The credentials in ``raw``, which is called ``place`` in errors; FormatError, LimitError."""
    if not raw.strip():
        return AuthFile(place, {}, {}, {}, "")
    node = parse_object(raw, what=place, limit=_LIMIT)
    auths = node.optional("auths")
    entries: dict[str, Node] = {}
    if auths is not None:
        for key, value in auths.as_object().items():
            entries.setdefault(canonical_key(key), Node(value, f"{place}: auths[{key!r}]"))
    helpers = {canonical_key(key): name for key, name in node.text_map("credHelpers").items()}
    return AuthFile(place, node.as_object(), entries, helpers, node.text("credsStore", ""))


def _credentials(node: Node, source: str) -> Credentials | None:
    if node.value is None:
        return None
    username, password = node.text("username", ""), node.text("password", "")
    if auth := node.text("auth", ""):
        username, password = _decode(auth, node)
    identity, registry = (_token(node, key) for key in ("identitytoken", "registrytoken"))
    if registry is not None:
        return Credentials(username, registry_token=registry, source=source)
    if identity is not None:
        return Credentials(username, identity_token=identity, source=source)
    if not username and not password:
        return None  # Docker leaves an empty entry behind where a helper keeps the secret
    return Credentials(username, Secret(password), source=source)


def _decode(auth: str, node: Node) -> tuple[str, str]:
    try:
        text = base64.b64decode(auth, validate=True).decode("utf-8").rstrip("\0")
    except (binascii.Error, ValueError):
        raise node.error("not base64 of UTF-8", key="auth", kind="base64") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise node.error("user and password are expected with a colon between them", key="auth", kind="auth")
    return username, password


def _token(node: Node, key: str) -> Secret | None:
    text = node.text(key, "")
    if not text:
        return None
    if not _PRINTABLE_TOKEN.fullmatch(text):
        raise node.error("a token without spaces is expected", key=key, kind="auth")
    return Secret(text)


def write_auth_file(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file at ``path``: the old one or the new one is there at every moment, for its owner's eyes only.

    A symbolic link stays one, and its target is replaced. Raises StoreError.
    """
    path = Path(os.path.realpath(path))
    raw = json.dumps(document, indent="\t", ensure_ascii=False).encode("utf-8") + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def changed(file: AuthFile | None, key: str, entry: Mapping[str, str] | None) -> dict[str, Any]:
    """The document with the entry for ``key`` set, or removed when ``entry`` is None, however its key is spelt."""
    document = dict(file.document) if file else {}
    auths = document.get("auths")
    if auths is not None and not isinstance(auths, dict):
        raise FormatError(f"{file.place if file else key}: auths: an object is expected", kind="json-type")
    kept = {name: value for name, value in (auths or {}).items() if canonical_key(name) != canonical_key(key)}
    if entry is not None:
        kept[key] = dict(entry)
    document["auths"] = kept
    return document
