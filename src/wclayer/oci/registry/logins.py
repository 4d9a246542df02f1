"""Logging in and out: credentials are checked with the registry, then kept where every tool looks for them.

They go to the first of these: ``--authfile``; the file that ``REGISTRY_AUTH_FILE`` names; ``config.json`` in the folder
that ``DOCKER_CONFIG`` names; the first of the other files that is there already; ``~/.docker/config.json``. Where that
file names a credential helper, the helper keeps the secret. What a token server gives for keeping (an identity token)
is kept instead of the password.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from wclayer.errors import NotFoundError, UsageError
from wclayer.oci.registry.authfiles import (
    AuthFile,
    Credentials,
    canonical_key,
    changed,
    parse_auth_file,
    read_auth_file,
    write_auth_file,
)
from wclayer.oci.registry.client import RegistryClient
from wclayer.oci.registry.credentials import HUB_KEY, CredentialFinder, auth_places
from wclayer.oci.registry.helpers import erase_with_helper, store_with_helper
from wclayer.oci.registry.names import DOCKER_HUB, parse_registry_host, parse_registry_name
from wclayer.oci.registry.settings import RegistrySettings

__all__ = ["Login", "Logout", "log_in", "log_out"]


@dataclass(frozen=True, slots=True)
class Login:
    """What became of a login: the registry, where it is kept, and sentences that are good to know."""

    registry: str
    kept_in: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Logout:
    """Where credentials were taken away, and sentences that are good to know."""

    registry: str
    taken_from: tuple[str, ...]
    notes: tuple[str, ...] = ()


def log_in(text: str, credentials: Credentials, settings: RegistrySettings) -> Login:
    """Log in to the registry that ``text`` names, with a path below it (``HOST/NAMESPACE``) for that path only.

    Nothing is kept unless the registry takes the credentials: AuthenticationError. Raises NetworkError, StoreError,
    UsageError, and FormatError for a file that is no use.
    """
    host, path = _target(text)
    with RegistryClient(_nobodys(settings)) as client:
        kept, was_checked = client.check_login(host, credentials)
    place = _writing_place(settings)
    file = read_auth_file(place)
    key = _key(host, path)
    helper = (file.helper_for(host, path) or file.store) if file else ""
    if helper:
        store_with_helper(helper, key, kept)
        write_auth_file(place, changed(file, key, {}))
        where = f"docker-credential-{helper}"
    else:
        write_auth_file(place, changed(file, key, _entry(kept)))
        where = str(place)
    notes = []
    if not was_checked:
        notes.append(f"{_shown(host, path)} does not ask who anybody is, so nothing was checked")
    if kept.identity_token is not None:
        notes.append("an identity token is kept instead of the password")
    elif not helper:
        notes.append(f"the password is kept unencrypted in {where}; a credential helper would keep it safely")
    found = CredentialFinder(_nobodys(settings)).find(host, path).credentials
    if found is not None and found.source not in (where, str(place)):
        notes.append(f"{found.source} comes first and has other credentials for this registry")
    return Login(_shown(host, path), where, tuple(notes))


def log_out(text: str, settings: RegistrySettings) -> Logout:
    """Forget the credentials for the registry that ``text`` names, in every file that is looked at.

    With an ``authfile`` only there. Raises NotFoundError when there were none, StoreError, FormatError.
    """
    host, path = _target(text)
    key = _key(host, path)
    taken: list[str] = []
    notes: list[str] = []
    for place in auth_places(settings.authfile, os.environ):
        if settings.authfile is not None and not place.is_explicit:
            continue
        if place.path is None:
            file = parse_auth_file((place.text or "").encode("utf-8", "replace"), place.name)
            if _has(file, key):
                notes.append(f"{place.name} still has credentials for it: the environment is not changed")
            continue
        file_there = read_auth_file(place.path)
        if file_there is None:
            continue
        helpers = {helper: None for helper in (file_there.helper_for(host, path), file_there.store) if helper}
        taken += [f"docker-credential-{helper}" for helper in helpers if erase_with_helper(helper, key)]
        if _has(file_there, key):
            write_auth_file(place.path, changed(file_there, key, None))
            taken.append(place.name)
    if not taken:
        raise NotFoundError(f"not logged in to {_shown(host, path)}", hint="; ".join(notes) or None)
    return Logout(_shown(host, path), tuple(dict.fromkeys(taken)), tuple(notes))


def _nobodys(settings: RegistrySettings) -> RegistrySettings:
    return replace(settings, username=None, password=None, identity_token=None, registry_token=None, anonymous=False)


def _target(text: str) -> tuple[str, str]:
    """The registry and the path below it, empty for all of it."""
    bare = re.sub(r"\A(?:https?|docker)://", "", text, flags=re.ASCII)
    host, slash, path = bare.partition("/")
    if not slash or re.fullmatch(r"(?:v[12]/?)?", path, re.ASCII):
        return parse_registry_host(text), ""
    if "." not in host and ":" not in host and host != "localhost":
        raise UsageError(f"not the address of a registry: {text!r}", hint="write HOST, HOST:PORT or HOST/NAMESPACE")
    name = parse_registry_name(f"{host}/{path.rstrip('/')}:latest")
    return name.host, path.rstrip("/")


def _key(host: str, path: str) -> str:
    if path:
        return f"{host}/{path}"
    return HUB_KEY if host == DOCKER_HUB else host


def _shown(host: str, path: str) -> str:
    return f"{host}/{path}" if path else host


def _entry(credentials: Credentials) -> dict[str, str]:
    password = credentials.password.reveal() if credentials.password and not credentials.identity_token else ""
    entry = {"auth": base64.b64encode(f"{credentials.username}:{password}".encode()).decode("ascii")}
    if credentials.identity_token is not None:
        entry["identitytoken"] = credentials.identity_token.reveal()
    return entry


def _has(file: AuthFile, key: str) -> bool:
    return canonical_key(key) in file.auths


def _writing_place(settings: RegistrySettings) -> Path:
    """The file that a login is kept in."""
    named = settings.authfile or os.environ.get("REGISTRY_AUTH_FILE")
    if named:
        return Path(named)
    if folder := os.environ.get("DOCKER_CONFIG"):
        return Path(folder, "config.json")
    paths = [place.path for place in auth_places(None, os.environ) if place.path is not None]
    if not paths:
        raise UsageError("there is no home folder to keep a login in", hint="name a file: --authfile FILE")
    return next((path for path in paths if path.exists()), paths[-1])
