"""Which proxy a request goes through: the variables every tool reads, with the rules Go's tools apply to them.

``HTTPS_PROXY``, ``HTTP_PROXY`` and ``ALL_PROXY`` in lower or upper case, where lower wins; ``NO_PROXY`` holds ``*``,
host names (their subdomains too), names with a leading dot (subdomains only), addresses, networks such as 10.0.0.0/8,
each with an optional port. This machine itself is never reached through a proxy of the environment.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from wclayer.errors import UnsupportedError, UsageError
from wclayer.oci.registry.addresses import is_loopback_host

__all__ = ["proxy_for", "split_proxy"]

_PORTS = {"http": 80, "https": 443}


def proxy_for(url: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that ``environment`` names for ``url``; None to go there directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback_host(host) or _is_excepted(
        host, parts.port or _PORTS.get(parts.scheme, 0), _variable(environment, "no_proxy")
    ):
        return None
    # A CGI program must not take the header "Proxy:" of whoever calls it for the variable.
    upper_allowed = parts.scheme != "http" or "REQUEST_METHOD" not in environment
    name = f"{parts.scheme}_proxy"
    found = _variable(environment, name) if upper_allowed else environment.get(name, "")
    return found.strip() or _variable(environment, "all_proxy").strip() or None


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.upper(), "")


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    return any(
        _matches(host.rstrip("."), port, word.strip().lower()) for word in exceptions.replace(" ", ",").split(",")
    )


def _matches(host: str, port: int, rule: str) -> bool:
    if not rule:
        return False
    if rule == "*":
        return True
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if "/" in rule:
        try:
            return address is not None and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, rule_port = _split_port(rule)
    if rule_port and rule_port != str(port):
        return False
    if address is not None:
        try:
            return address == ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
    name = name.removeprefix("*").rstrip(".")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(rule: str) -> tuple[str, str]:
    if rule.startswith("["):
        name, _, rest = rule.partition("]")
        return name[1:], rest.removeprefix(":")
    if rule.count(":") == 1:
        name, _, port = rule.partition(":")
        return name, port
    return rule, ""


def split_proxy(proxy: str) -> tuple[str, str | None]:
    """The address of a proxy without its user, and ``user:password`` when there is one.

    Raises UsageError for what is no address, UnsupportedError for a proxy that does not speak HTTP.
    """
    text = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError("the address of the proxy is none", hint="write http://HOST:PORT") from None
    if parts.scheme not in ("http", "https"):
        raise UnsupportedError(
            f"a proxy of the kind {parts.scheme!r}", hint="only http and https proxies are supported"
        )
    if not host or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise UsageError("the address of the proxy is none", hint="write http://HOST:PORT")
    user = None
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}:{port or _PORTS[parts.scheme]}", user
