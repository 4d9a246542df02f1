"""A repository of a registry: its manifests, tags and referrers, and requests to it as the right person.

All methods may be called from several threads. All raise AuthenticationError, NotFoundError, NetworkError and
UnsupportedError, which name the registry and the repository.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from wclayer.errors import UnsupportedError, WclayerError
from wclayer.oci.descriptors import Descriptor, Index, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.documents import Document, delete_document, get_document, head_document, put_document
from wclayer.oci.registry.hosts import Host, origin
from wclayer.oci.registry.http import Body
from wclayer.oci.registry.listing import names_in_pages
from wclayer.oci.registry.names import RegistryName
from wclayer.oci.registry.referrers import add_referrer, list_referrers, remove_referrer
from wclayer.oci.registry.retrying import Patience
from wclayer.oci.registry.session import Authorizer, Request, Session

if TYPE_CHECKING:
    from wclayer.oci.registry.client import RegistryClient

__all__ = ["Actions", "Repository"]

Actions: TypeAlias = Literal["pull", "push", "pull,push", "delete", "pull,delete", "pull,push,delete"]
"""What a token must allow."""

_TAGS_AT_ONCE = 1000
T = TypeVar("T")


class Repository:
    """See :meth:`wclayer.oci.registry.client.RegistryClient.repository`.

    ``name`` is the image it was made for. ``client`` made it; ``settings`` and ``patience`` are its own, for whoever
    repeats more than single requests.
    """

    def __init__(
        self,
        name: RegistryName,
        session: Session,
        hosts: Sequence[tuple[Host, Authorizer]],
        client: RegistryClient,
        patience: Patience,
    ) -> None:
        self.name = name
        self.client = client
        self.settings = client.settings
        self.patience = patience
        self._session = session
        self._hosts = tuple(hosts)

    def __repr__(self) -> str:
        return f"<Repository {self.name.repository_name}>"

    @property
    def host(self) -> Host:
        """The registry itself, not a mirror."""
        return self._hosts[-1][0]

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        actions: Actions = "pull",
        expect: Collection[int] = (200,),
        stream: bool = True,
        retry: bool = True,
        mount_from: str | None = None,
        what: str | None = None,
    ) -> Answer:
        """One request and its answer, whose status is one of ``expect``; all other statuses are raised as errors.

        ``path`` is below ``/v2/NAME/`` (``blobs/sha256:…``), or a whole address that the registry gave; credentials go
        to the registry's own host only. Reading goes to mirrors first, where there are any. ``retry`` repeats what
        failed in a way that may pass: leave it out for what must not be done twice. ``mount_from`` is another
        repository of the registry that a token must let us read. With ``stream`` false the body is read and dropped.
        ``what`` is what is asked for, in errors.
        """
        request = Request(
            method,
            path if path.startswith(("http://", "https://")) else f"{self.name.repository}/{path}",
            what or f"{path.partition('?')[0]} of {self.name.repository}",
            expect,
            self._scopes(actions, mount_from),
            headers or {},
            body,
            retry,
            is_verified=method in ("GET", "HEAD") and (path.startswith("blobs/") or "manifests/sha" in path),
        )
        try:
            answer = self._session.ask(self._usable(method, path, actions), request)
        except WclayerError as error:
            error.locate(image=str(self.name))
            raise
        if not stream:
            answer.drain()
        return answer

    def _scopes(self, actions: str, mount_from: str | None) -> tuple[str, ...]:
        own = f"repository:{self.name.repository}:{actions}"
        if mount_from is None or mount_from == self.name.repository:
            return (own,)
        return (own, f"repository:{mount_from}:pull")

    def _usable(self, method: str, path: str, actions: str) -> Sequence[tuple[Host, Authorizer]]:
        """The hosts that may be asked: one that cannot resolve names is for content that a digest vouches for."""
        if path.startswith(("http://", "https://")):
            named = [pair for pair in self._hosts if pair[0].origin == origin(path)]
            return named[:1] or self._for_pushes()
        if actions != "pull" or method not in ("GET", "HEAD"):
            return self._for_pushes()
        by_digest = path.startswith("blobs/") or "manifests/sha" in path
        wanted = "pull" if by_digest else "resolve"
        mirrors = [pair for pair in self._hosts[:-1] if wanted in pair[0].capabilities]
        return [*mirrors, self._hosts[-1]]

    def _for_pushes(self) -> Sequence[tuple[Host, Authorizer]]:
        for pair in self._hosts:
            if "push" in pair[0].capabilities:
                return (pair,)
        hint = "say so in its hosts.toml: capabilities"
        raise UnsupportedError(f"no host for {self.name.host} may be pushed to", image=str(self.name), hint=hint)

    # ------------------------------------------------------------------------------------------------- manifests

    def get_manifest(self, reference: str | Digest) -> Document:
        """The manifest or index under a tag or digest, verified.

        Raises DigestMismatchError for content that is not what its digest or the registry says, FormatError and
        LimitError for content that is no manifest.
        """
        return self._located(lambda: get_document(self, reference))

    def head_manifest(self, reference: str | Digest) -> Descriptor | None:
        """The descriptor of the manifest under a tag or digest, None when there is none."""
        return self._located(lambda: head_document(self, reference))

    def put_manifest(self, raw: bytes, media_type: str, reference: str | Digest) -> Digest:
        """Store a manifest under a tag, or its digest, and return its digest.

        What it refers to must be there. One with a ``subject`` is listed as its referrer, by the registry or here.
        """

        def put() -> Digest:
            parsed = parse_document(raw, media_type, what="the manifest to store")
            digest, is_listed = put_document(self, raw, media_type, reference)
            if parsed.subject is not None and not is_listed:
                add_referrer(self, parse_document(raw, media_type, digest=digest))
            return digest

        return self._located(put)

    def delete_manifest(self, digest: Digest) -> None:
        """Delete a manifest, and with it all tags that lead to it; also from the list of its subject's referrers."""

        def delete() -> None:
            document = get_document(self, digest)
            delete_document(self, digest)
            remove_referrer(self, document.parsed)

        self._located(delete)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag and not the manifest it leads to, where the registry can do that; else UnsupportedError."""
        self._located(lambda: delete_document(self, tag))

    def tags(self) -> Iterator[str]:
        """All tags, in the order of the registry; they come in pages while the iterator goes on."""
        what = f"the tags of {self.name.repository}"
        path = f"tags/list?n={_TAGS_AT_ONCE}"
        try:
            yield from names_in_pages(lambda page: self.request("GET", page, what=what), path, "tags", what)
        except WclayerError as error:
            error.locate(image=self.name.repository_name)
            raise

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Index:
        """What refers to ``digest``, of one artifact type or of all, as one index; an empty one when nothing does."""
        return self._located(lambda: list_referrers(self, digest, artifact_type))

    # ----------------------------------------------------------------------------------------------------- blobs

    def has_blob(self, digest: Digest, *, actions: Actions = "pull") -> int | None:
        """The size in bytes of a blob, None when it is not there (-1 when the registry has it but does not say).

        With ``pull,push`` only the registry itself is asked, and no mirror.
        """
        what = f"the blob {digest} of {self.name.repository}"
        answer = self.request("HEAD", f"blobs/{digest}", actions=actions, expect=(200, 404), stream=False, what=what)
        if answer.status == 404:
            return None
        return -1 if answer.content_length is None else answer.content_length

    def delete_blob(self, digest: Digest) -> None:
        """Delete a blob; registries with deletion switched off raise UnsupportedError."""
        what = f"deleting the blob {digest} of {self.name.repository}"
        self.request(
            "DELETE", f"blobs/{digest}", actions="pull,delete", expect=(202, 200, 204), stream=False, what=what
        )

    def _located(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except WclayerError as error:
            error.locate(image=str(self.name))
            raise
