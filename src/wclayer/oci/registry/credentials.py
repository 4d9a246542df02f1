"""Whose credentials a registry gets: one order of places, the same for every verb, and never a secret in a message.

In this order: what was given explicitly; ``--authfile``; the file that ``REGISTRY_AUTH_FILE`` names; the JSON in
``DOCKER_AUTH_CONFIG``; ``config.json`` in the folder that ``DOCKER_CONFIG`` names; ``containers/auth.json`` in
``XDG_RUNTIME_DIR``, then in ``XDG_CONFIG_HOME`` (``~/.config``); ``~/.docker/config.json``. The first place that knows
the registry wins. In one place: the helper for the registry (``credHelpers``), the helper for all (``credsStore``),
then ``auths``, where the longest key that fits the repository wins. Nobody's credentials are an answer too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import NotFoundError, WclayerError
from wclayer.oci.registry.authfiles import AuthFile, Credentials, parse_auth_file, read_auth_file
from wclayer.oci.registry.helpers import TOKEN_USER, HelperError, ask_helper
from wclayer.oci.registry.names import DOCKER_HUB
from wclayer.oci.registry.settings import RegistrySettings

__all__ = ["HUB_KEY", "CredentialFinder", "Found", "Place", "auth_places"]

HUB_KEY = "https://index.docker.io/v1/"
"""The name that Docker keeps the account of Docker Hub under."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place where credentials may be: a file, or text in the environment. ``is_explicit`` places must be readable."""

    name: str
    path: Path | None
    text: str | None = None
    is_explicit: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: credentials or None, and what went wrong at places that had to be passed over."""

    credentials: Credentials | None
    problems: tuple[str, ...] = ()


def auth_places(authfile: Path | None, environment: Mapping[str, str]) -> Iterator[Place]:
    """The places in their order, whether or not anything is there."""
    if authfile is not None:
        yield Place(str(authfile), authfile, is_explicit=True)
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Place(named, Path(named))
    if text := environment.get("DOCKER_AUTH_CONFIG", "").strip():
        yield Place("DOCKER_AUTH_CONFIG", None, text)
    if folder := environment.get("DOCKER_CONFIG"):
        yield _file(Path(folder, "config.json"))
    if folder := environment.get("XDG_RUNTIME_DIR"):
        yield _file(Path(folder, "containers", "auth.json"))
    try:
        home = Path.home()
    except RuntimeError:  # nobody's home
        home = None
    if folder := environment.get("XDG_CONFIG_HOME") or (str(home / ".config") if home else ""):
        yield _file(Path(folder, "containers", "auth.json"))
    if home is not None:
        yield _file(home / ".docker" / "config.json")


def _file(path: Path) -> Place:
    return Place(str(path), path)


class CredentialFinder:
    """Finds credentials for one client; files are read once, and a helper is asked once for each registry."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._files: list[tuple[Place, AuthFile]] | None = None
        self._problems: list[str] = []
        self._answers: dict[tuple[str, str], Credentials | HelperError | None] = {}
        self._lock = threading.Lock()

    def find(self, host: str, repository: str, *, explicit: bool = True) -> Found:
        """The credentials for ``repository`` of ``host``.

        Those given explicitly only count when ``explicit`` is true, which it is not for a mirror.

        Raises FormatError for an explicit file, or an environment, that is no use, and NotFoundError when it is not
        there; of other files that is a problem to be told when it matters.
        """
        settings = self._settings
        if settings.anonymous:
            return Found(None)
        if explicit:
            given = _explicit(settings)
            if given is not None:
                return Found(given)
        with self._lock:
            files = self._read()
            problems = list(self._problems)
            for place, file in files:
                found = self._in_file(place, file, host, repository, problems)
                if found is not None:
                    return Found(found, tuple(problems))
            return Found(None, tuple(problems))

    def _read(self) -> list[tuple[Place, AuthFile]]:
        if self._files is None:
            files = []
            for place in auth_places(self._settings.authfile, os.environ):
                try:
                    file = (
                        parse_auth_file(place.text.encode("utf-8", "replace"), place.name)
                        if place.path is None and place.text is not None
                        else read_auth_file(place.path)
                        if place.path is not None
                        else None
                    )
                except WclayerError as error:
                    if place.is_explicit or place.path is None:
                        raise
                    self._problems.append(error.message)
                    continue
                if file is not None:
                    files.append((place, file))
                elif place.is_explicit:
                    raise NotFoundError(f"no such file: {place.name}", hint="it was named with --authfile")
            self._files = files
        return self._files

    def _in_file(
        self, place: Place, file: AuthFile, host: str, repository: str, problems: list[str]
    ) -> Credentials | None:
        for helper in (file.helper_for(host, repository), file.store):
            if helper:
                answer = self._helper(helper, HUB_KEY if host == DOCKER_HUB else host)
                if isinstance(answer, Credentials):
                    return answer
                if isinstance(answer, HelperError):
                    problems.append(answer.message)
        return file.credentials_for(host, repository, place.name)

    def _helper(self, helper: str, server: str) -> Credentials | HelperError | None:
        key = (helper, server)
        if key not in self._answers:
            try:
                self._answers[key] = ask_helper(helper, server)
            except HelperError as error:
                self._answers[key] = error
        return self._answers[key]


def _explicit(settings: RegistrySettings) -> Credentials | None:
    if settings.registry_token is not None:
        return Credentials("", registry_token=settings.registry_token, source="the command line")
    if settings.identity_token is not None:
        return Credentials("", identity_token=settings.identity_token, source="the command line")
    if settings.username == TOKEN_USER:
        return Credentials("", identity_token=settings.password, source="the command line")
    if settings.username is not None and settings.password is not None:
        return Credentials(settings.username, settings.password, source="the command line")
    return None
