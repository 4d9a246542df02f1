"""Everything a person may say about talking to registries, in one value; the defaults are right for most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wclayer.errors import UsageError
from wclayer.oci.registry.secrets import Secret

__all__ = ["RegistrySettings"]


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How registries are reached, and who asks.

    ``plain_http`` is true for http, false for https, and None for what fits the address: http for this machine
    (``localhost``, 127.0.0.0/8, ::1) unless a TLS option is given, https for all others. ``insecure`` accepts any
    certificate. ``ca_file`` holds certificates (PEM) that are trusted beside those of the system; ``cert`` and ``key``
    are the client's own, where ``key`` may be in the file of ``cert``. ``hosts_dir`` is a folder of ``hosts.toml``
    files as containerd has it (``certs.d``); without it the usual folders are looked at.

    ``username`` and ``password``, ``identity_token`` (an OAuth2 refresh token) or ``registry_token`` (a bearer token as
    it is sent) come before everything that files know; ``authfile`` is the first file that is asked. ``anonymous`` uses
    none of these.

    ``proxy`` is the address of a proxy, instead of those of the environment; empty for none. ``retries`` says how often
    a request without effect is repeated when a registry is busy or a connection breaks; ``retry_delay`` in seconds
    replaces the growing delays between them. The timeouts, in seconds, are those of one connection attempt and of one
    wait for more bytes. ``trace`` is given a line, without secrets, for each request and answer.

    ``allow_private_urls`` lets addresses that registries and manifests name (redirects, token servers, uploads, the
    ``urls`` of a foreign layer) lead into a private network although the registry is not in one. ``foreign_order`` says
    where a foreign layer is looked for first.
    """

    plain_http: bool | None = None
    insecure: bool = False
    ca_file: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None
    anonymous: bool = False
    authfile: Path | None = None
    proxy: str | None = field(default=None, repr=False)  # it may hold a password
    hosts_dir: Path | None = None
    retries: int = 5
    retry_delay: float | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    trace: Callable[[str], None] | None = field(default=None, compare=False)
    allow_private_urls: bool = False
    foreign_order: Literal["registry", "urls"] = "registry"

    def __post_init__(self) -> None:
        """Refuse what contradicts itself; UsageError."""
        if self.key is not None and self.cert is None:
            raise UsageError("a client key without its certificate", hint="name the certificate too: --cert FILE")
        if (self.username is None) != (self.password is None):
            wanted, given = ("a user name", "a password") if self.username is None else ("a password", "a user name")
            raise UsageError(f"{given} without {wanted}", hint="give --username NAME and --password-stdin")
        explicit = [self.username, self.identity_token, self.registry_token]
        if sum(one is not None for one in explicit) > 1:
            raise UsageError("a password, an identity token and a registry token exclude each other")
        if self.anonymous and any(one is not None for one in explicit):
            raise UsageError("anonymous, and with credentials: one of the two")
        if self.retries < 0 or (self.retry_delay is not None and not 0 <= self.retry_delay <= 3600):
            raise UsageError("retries and the delay between them cannot be negative, nor a delay above an hour")
        if not 0 < self.connect_timeout <= 3600 or not 0 < self.read_timeout <= 86400:
            raise UsageError("a timeout is a number of seconds above 0, at most an hour (a day for reading)")

    @property
    def has_tls_options(self) -> bool:
        """Whether something was said that only makes sense for https."""
        return self.insecure or self.ca_file is not None or self.cert is not None
