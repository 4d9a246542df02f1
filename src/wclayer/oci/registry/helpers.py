"""Credential helpers: programs ``docker-credential-NAME`` that keep secrets where an operating system wants them.

The protocol is that of docker-credential-helpers: a word as the only argument, the server (or JSON) on standard input,
JSON on standard output, an error as its text. Secrets are never arguments, for those are in the list of processes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess

from wclayer.errors import AuthenticationError, WclayerError
from wclayer.oci.registry.authfiles import Credentials
from wclayer.oci.registry.redaction import printable
from wclayer.oci.registry.secrets import Secret
from wclayer.oci.strictjson import parse_object

__all__ = ["TOKEN_USER", "HelperError", "ask_helper", "erase_with_helper", "store_with_helper"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_TIMEOUT = 60.0
_LIMIT = 1 << 20
_NOT_FOUND = "credentials not found"
TOKEN_USER = "<token>"  # noqa: S105 - a name
"""The user whose password is an identity token."""


class HelperError(AuthenticationError):
    """A helper that is not there, fails, or says what no helper may."""


def ask_helper(name: str, server: str) -> Credentials | None:
    """What the helper knows of ``server``, None when it knows nothing; HelperError."""
    try:
        raw = _run(name, "get", server)
    except _Failed as error:
        if _NOT_FOUND in error.said.lower():
            return None
        raise
    program = f"docker-credential-{name}"
    try:
        node = parse_object(raw, what=program, limit=_LIMIT)
        username, secret = node.text("Username", ""), node.text("Secret", "")
    except WclayerError:  # its text may hold the secret
        raise HelperError(f"{program} does not answer with JSON as a credential helper does") from None
    if not secret and not username:
        return None
    if username == TOKEN_USER:
        return Credentials("", identity_token=Secret(secret), source=program)
    return Credentials(username, Secret(secret), source=program)


def store_with_helper(name: str, server: str, credentials: Credentials) -> None:
    """Give the helper credentials to keep; HelperError."""
    secret = credentials.identity_token or credentials.password or Secret("")
    username = TOKEN_USER if credentials.identity_token else credentials.username
    _run(name, "store", json.dumps({"ServerURL": server, "Username": username, "Secret": secret.reveal()}))


def erase_with_helper(name: str, server: str) -> bool:
    """Let the helper forget ``server``; false when it knew nothing of it. Raises HelperError."""
    if ask_helper(name, server) is None:
        return False
    _run(name, "erase", server)
    return True


class _Failed(HelperError):
    def __init__(self, message: str, said: str) -> None:
        super().__init__(message)
        self.said = said


def _run(name: str, word: str, given: str) -> bytes:
    program = f"docker-credential-{name}"
    path = shutil.which(program) if _NAME.fullmatch(name) else None
    if path is None:
        raise HelperError(f"the credential helper {printable(program)} is not installed")
    try:
        done = subprocess.run(  # noqa: S603 - the program that a person's own configuration names
            [path, word], input=given.encode("utf-8"), capture_output=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise HelperError(f"{program} {word} takes longer than {_TIMEOUT:.0f} s") from None
    except OSError as error:
        raise HelperError(f"{program} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        said = printable((done.stdout[:300] or done.stderr[:300]).decode("utf-8", "replace").strip())
        message = f"{program} {word} ends with {done.returncode}"
        raise _Failed(f"{message}: {said}" if word == "get" else message, said)
    return done.stdout
