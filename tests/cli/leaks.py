"""Looking for secrets: passwords, tokens and the state of uploads, in every encoding of HTTP and JSON."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.cli.conftest import Ended
from tests.registries.docker_registry import PASSWORD, USER
from tests.registries.token_server import IDENTITY_TOKEN

__all__ = ["PROXY_PASSWORD", "WRONG", "arguments_of", "check", "leaks"]

WRONG = "not-the-right-horse"
PROXY_PASSWORD = "opens-the-proxy"  # noqa: S105 - of nobody
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
_UPLOAD_STATE = re.compile(rb"_state=(?!\*\*\*)[^&\s]{4}")


def encodings(secret: str, user: str = USER) -> set[bytes]:
    """All the ways a password or a token can be written down."""
    pairs = {f"{who}:{secret}" for who in (user, "", "<token>")}
    plain = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}
    coded = {base64.b64encode(text.encode()).rstrip(b"=") for text in (secret, *pairs)}
    coded |= {base64.urlsafe_b64encode(text.encode()).rstrip(b"=") for text in (secret, *pairs)}
    return {text.encode() for text in plain} | coded


SECRETS = set().union(*(encodings(one) for one in (PASSWORD, WRONG, IDENTITY_TOKEN, PROXY_PASSWORD)))


def leaks(data: bytes) -> list[bytes]:
    """The secrets in ``data``."""
    return [
        *(one for one in sorted(SECRETS) if one in data),
        *_JWT.findall(data),
        *_UPLOAD_STATE.findall(data),
    ]


def check(ended: Ended, place: Path) -> None:
    """Nothing was shown, and nothing was left in a file or a name below ``place``."""
    assert leaks(ended.data) == []
    assert leaks(ended.err.encode()) == []
    for path in place.rglob("*"):
        if path.is_file():
            assert leaks(path.read_bytes()) == [], path
        assert leaks(os.fsencode(path)) == []


def arguments_of(root: int) -> Iterator[bytes]:
    """The arguments of a process and of everything below it."""
    waiting = [root]
    while waiting:
        process = waiting.pop()
        try:
            yield Path(f"/proc/{process}/cmdline").read_bytes()
            tasks = list(Path(f"/proc/{process}/task").iterdir())
            waiting += [int(one) for task in tasks for one in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
