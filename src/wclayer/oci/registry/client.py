"""The registry client: one for a run, with the connections, tokens and credentials that its requests share."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from wclayer.errors import NetworkError, WclayerError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.authfiles import Credentials
from wclayer.oci.registry.authorizer import HostAuthorizer
from wclayer.oci.registry.credentials import CredentialFinder, Found
from wclayer.oci.registry.hosts import Host, hosts_of
from wclayer.oci.registry.http import HttpTransport, Route
from wclayer.oci.registry.listing import names_in_pages
from wclayer.oci.registry.names import RegistryName, parse_registry_host
from wclayer.oci.registry.redaction import shown_url
from wclayer.oci.registry.redirects import Redirects
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.retrying import Patience
from wclayer.oci.registry.session import Authorizer, Request, Session
from wclayer.oci.registry.settings import RegistrySettings
from wclayer.oci.registry.tls import TlsSettings
from wclayer.oci.registry.tokens import TokenServer

__all__ = ["RegistryClient"]

_REPOSITORIES_AT_ONCE = 1000


class RegistryClient:
    """Speaks to registries. Safe to use from several threads. A context manager: closing ends all waiting."""

    def __init__(self, settings: RegistrySettings | None = None) -> None:
        self.settings = settings or RegistrySettings()
        self._transport = HttpTransport(self.settings)
        self._patience = Patience(self.settings.retries, self.settings.retry_delay)
        self._session = Session(self._transport, self._patience)
        self._tokens = TokenServer(Redirects(self._transport), self._patience)
        self._finder = CredentialFinder(self.settings)
        self._hosts: dict[str, tuple[Host, ...]] = {}
        self._authorizers: dict[tuple[str, str], HostAuthorizer] = {}
        self._lock = threading.Lock()

    @property
    def patience(self) -> Patience:
        """The waiting between attempts, which ends when the client is closed."""
        return self._patience

    def repository(self, name: RegistryName) -> Repository:
        """The repository of ``name``. Nothing is asked of the registry yet.

        Raises UsageError for an address that is none, and what reading ``certs.d`` raises.
        """
        return Repository(name, self._session, self._pairs(name.host, name.repository), self, self._patience)

    def catalog(self, host: str) -> Iterator[str]:
        """The repositories of a registry, in its order, where it tells; they come in pages."""
        registry = parse_registry_host(host)
        pairs = self._pairs(registry, "")[-1:]
        what = "the list of repositories"

        def fetch(path: str) -> Answer:
            return self._session.ask(pairs, Request("GET", path, what, (200,), ("registry:catalog:*",)))

        try:
            yield from names_in_pages(fetch, f"_catalog?n={_REPOSITORIES_AT_ONCE}", "repositories", what)
        except WclayerError as error:
            error.locate(image=registry)
            raise

    def found_credentials(self, host: str, repository: str = "") -> Found:
        """The credentials that requests to ``repository`` of ``host`` would use."""
        return self._finder.find(host, repository)

    def check_login(self, host: str, credentials: Credentials) -> tuple[Credentials, bool]:
        """Ask ``host`` whether it takes ``credentials``.

        Returns what to keep, an identity token where one is given, and whether the registry has looked at all: one that
        is open to everybody does not. Raises AuthenticationError when it does not, NetworkError.
        """
        server = self._hosts_of(host)[-1]
        authorizer = HostAuthorizer(server, "", self._finder, self._tokens, credentials)
        what = "the login"
        request = Request("GET", "", what, (200,))
        self._session.ask([(server, authorizer)], request).drain()
        return authorizer.kept_credentials() or credentials, authorizer.was_asked

    def fetch_url(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int] = (200, 206),
        what: str = "the content",
    ) -> Answer:
        """GET an address that is nobody's registry, such as the ``urls`` of a foreign layer, without any credentials.

        https is required unless ``plain_http`` is set, and private networks are closed unless ``allow_private_urls``
        is, at every redirect. Its digest has to vouch for what comes. Raises NetworkError, NotFoundError.
        """
        settings = self.settings
        shown = shown_url(url)
        try:
            parts = urlsplit(url)
            netloc = parts.netloc
        except ValueError:
            raise NetworkError(f"not an address: {shown}") from None
        if parts.scheme != "https" and not (parts.scheme == "http" and settings.plain_http):
            raise NetworkError(f"{what}: {shown} is no https address", hint="--plain-http allows http")
        tls = TlsSettings((settings.ca_file,) if settings.ca_file else (), None, not settings.insecure)
        host = Host(
            registry=netloc,
            base=f"{parts.scheme}://{netloc}",
            name=netloc,
            route=Route(tls, public_only=not settings.allow_private_urls),
        )
        request = Request("GET", url, what, expect, (), headers or {}, is_verified=True)
        return self._session.ask([(host, _Nobody())], request)

    def close(self) -> None:
        """End all waiting and close all connections. Harmless when called twice."""
        self._patience.end()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _hosts_of(self, registry: str) -> tuple[Host, ...]:
        with self._lock:
            if registry not in self._hosts:
                self._hosts[registry] = hosts_of(registry, self.settings)
            return self._hosts[registry]

    def _pairs(self, registry: str, repository: str) -> Sequence[tuple[Host, Authorizer]]:
        pairs = []
        for host in self._hosts_of(registry):
            with self._lock:
                key = (host.base, repository)
                if key not in self._authorizers:
                    self._authorizers[key] = HostAuthorizer(host, repository, self._finder, self._tokens)
                pairs.append((host, self._authorizers[key]))
        return pairs


class _Nobody:
    """The authorizer that never says anything."""

    account = ""
    login = ""
    problems = ()

    def header(self, scopes: Sequence[str]) -> str | None:  # noqa: ARG002 - the protocol's signature
        return None

    def challenged(self, answer: Answer, scopes: Sequence[str], sent: str | None) -> bool:  # noqa: ARG002
        return False

    def hide(self, text: str) -> str:
        return text
