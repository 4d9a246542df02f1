"""Names of images that move in numbers: what one is called where it comes from, and below a prefix elsewhere."""

from __future__ import annotations

from wclayer.errors import UsageError
from wclayer.image.copying.ends import Source
from wclayer.oci.layout import IMAGE_NAME, REF_NAME
from wclayer.oci.references import Reference, looks_like_registry, parse_reference
from wclayer.oci.registry.names import RegistryName, parse_registry_name

__all__ = ["full_name", "name_of", "target_for"]


def name_of(source: Source) -> RegistryName | None:
    """The full name of what was opened, None when it has none."""
    if source.repository is not None:
        return source.repository
    for root in source.roots:
        for key in (IMAGE_NAME, REF_NAME):
            name = full_name(root.annotations.get(key, ""))
            if name is not None:
                return name
    return None


def full_name(text: str) -> RegistryName | None:
    """``text`` as the name of an image; None when it is only a tag, or nothing of the kind."""
    if ("/" not in text and ":" not in text) or not looks_like_registry(text):
        return None
    return parse_registry_name(text)


def target_for(prefix: str, name: RegistryName) -> str:
    """The reference that ``name`` gets below ``prefix``: a registry with or without a path, or ``oci:DIR``.

    In a registry the host of the name is left out; in a layout, and in the content store, the name stays whole.
    """
    if prefix == "store:":
        return f"store:{name}"
    place = parse_reference(prefix)
    if place.transport == "oci" and not place.name and place.digest is None:
        return f"oci:{place.location}:{name}"
    host = _registry_prefix(prefix, place)
    tag = f":{name.tag}" if name.tag else f"@{name.digest}" if name.digest else ""
    return f"docker://{host}/{name.repository}{tag}"


def _registry_prefix(prefix: str, place: Reference) -> str:
    if place.transport == "registry" or (place.transport == "path" and not prefix.startswith((".", "/"))):
        return prefix.removeprefix("docker://").rstrip("/")
    raise UsageError(f"{prefix} is no place for several images", hint="name docker://HOST/PATH or oci:DIR")
