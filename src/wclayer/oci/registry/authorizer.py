"""What is said to a host so that it lets us in: nothing until it asks, then what it asks for, from then on at once.

Basic authentication repeats the password; Bearer shows a token, which a token server gives for the scopes of a request.
Tokens are kept for each set of scopes as long as they live, and one thread fetches while the others wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from wclayer.errors import AuthenticationError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.authfiles import Credentials
from wclayer.oci.registry.challenge import Challenge, parse_challenges
from wclayer.oci.registry.credentials import CredentialFinder, Found
from wclayer.oci.registry.hosts import Host
from wclayer.oci.registry.secrets import Secret
from wclayer.oci.registry.tokens import Token, TokenServer

__all__ = ["HostAuthorizer"]


class HostAuthorizer:
    """The authorizer for one repository of one host; see :class:`wclayer.oci.registry.session.Authorizer`."""

    def __init__(
        self,
        host: Host,
        repository: str,
        finder: CredentialFinder,
        tokens: TokenServer,
        login: Credentials | None = None,
    ) -> None:
        self._host = host
        self._repository = repository
        self._finder = finder
        self._server = tokens
        self._lock = threading.RLock()
        self._found = Found(login) if login else None
        self._is_login = login is not None
        self._refresh: Secret | None = None
        self._challenge: Challenge | None = None
        self._named: dict[tuple[str, ...], str] = {}
        self._kept: dict[tuple[str, ...], Token] = {}
        self._sent: set[Secret] = set()

    @property
    def found(self) -> Found:
        """The credentials for the repository; searched for when they are first needed."""
        with self._lock:
            if self._found is None:
                host = self._host
                name = host.name if host.is_mirror else host.registry
                self._found = self._finder.find(name, self._repository, explicit=not host.is_mirror)
            return self._found

    @property
    def account(self) -> str:
        """Whose credentials are used, for messages; empty for nobody's."""
        credentials = self._found.credentials if self._found else None
        return credentials.shown if credentials else ""

    @property
    def login(self) -> str:
        """What to log in to when they do not do."""
        return self._host.name if self._host.is_mirror else self._host.registry

    def header(self, scopes: Sequence[str]) -> str | None:
        """The ``Authorization`` for ``scopes``, as far as it is known what the host wants.

        Raises AuthenticationError and NetworkError when a token is wanted and cannot be had.
        """
        with self._lock:
            challenge = self._challenge
            if challenge is None:
                return None
            credentials = self.found.credentials
            if challenge.scheme == "basic":
                basic = credentials.basic if credentials else None
                return f"Basic {self._remember(basic).reveal()}" if basic else None
            if credentials is not None and credentials.registry_token is not None:
                return f"Bearer {self._remember(credentials.registry_token).reveal()}"
            key = tuple(sorted(set(scopes)))
            token = self._kept.get(key)
            if token is None or token.expires <= time.monotonic():
                # What a challenge says of scopes is about the request it answered, and no other.
                asked = replace(challenge, parameters={**challenge.parameters, "scope": self._named.get(key, "")})
                token = self._server.fetch(self._host, asked, key, credentials, offline=self._is_login)
                self._kept[key] = token
                self._refresh = token.refresh
            return f"Bearer {self._remember(token.text).reveal()}"

    def challenged(self, answer: Answer, scopes: Sequence[str], sent: str | None) -> bool:
        """Learn from an answer 401 to a request with the header ``sent``; whether there is something new to say.

        Others may have learnt the same meanwhile: what counts is what this request said. Raises AuthenticationError
        when the host wants what nobody here can give.
        """
        challenges = parse_challenges(answer.header_values("www-authenticate"))
        wanted = {challenge.scheme: challenge for challenge in reversed(challenges)}
        with self._lock:
            credentials = self.found.credentials
            if "bearer" in wanted and wanted["bearer"].parameters.get("realm"):
                self._challenge = wanted["bearer"]
                if credentials is not None and credentials.registry_token is not None:
                    return sent != f"Bearer {credentials.registry_token.reveal()}"
                key = tuple(sorted(set(scopes)))
                self._named[key] = self._challenge.parameters.get("scope", "")
                kept = self._kept.get(key)
                if kept is not None and sent == f"Bearer {kept.text.reveal()}":
                    del self._kept[key]
                return True
            if "basic" in wanted:
                self._challenge = wanted["basic"]
                basic = credentials.basic if credentials else None
                return basic is not None and sent != f"Basic {basic.reveal()}"
        if challenges:
            names = ", ".join(sorted(wanted))
            raise AuthenticationError(f"{self._host.name} wants a kind of authentication that is not known: {names}")
        return False

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong while credentials were searched for."""
        return self._found.problems if self._found else ()

    @property
    def was_asked(self) -> bool:
        """Whether the host has ever wanted to know who asks."""
        return self._challenge is not None

    def kept_credentials(self) -> Credentials | None:
        """What to keep after a login: the identity token that the token server gave, or what was logged in with."""
        credentials = self._found.credentials if self._found else None
        if credentials is None or self._refresh is None:
            return credentials
        return Credentials(credentials.username, identity_token=self._refresh, source=credentials.source)

    def _remember(self, secret: Secret) -> Secret:
        self._sent.add(secret)
        return secret

    def hide(self, text: str) -> str:
        """``text`` without the secrets that were sent."""
        credentials = self._found.credentials if self._found else None
        secrets = set(self._sent)
        if credentials is not None:
            secrets |= {
                one
                for one in (credentials.password, credentials.identity_token, credentials.registry_token)
                if one is not None
            }
        for secret in sorted(secrets, key=lambda one: -len(one.reveal())):
            if secret:
                text = text.replace(secret.reveal(), "***")
        return text
