"""Which addresses are private: the ones a server outside must not be able to send us to.

An answer can name addresses (redirects, token servers, foreign layers), and a program inside a network that follows
them becomes a tool of whoever wrote the answer. The address is judged where it counts, after the connection was made,
so a name that resolves to something else the second time changes nothing.
"""

from __future__ import annotations

import ipaddress
import socket

__all__ = ["is_loopback_host", "is_private_address", "is_private_host"]

_SHARED = ipaddress.ip_network("100.64.0.0/10")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_private_address(text: str) -> bool:
    """Whether an IP address is loopback, private, link-local, shared, multicast, reserved or unspecified."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return True  # nothing we know, so nothing we let through
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private_address(str(inner))
    if isinstance(address, ipaddress.IPv4Address) and address in _SHARED:
        return True
    return not address.is_global or address.is_multicast or address.is_reserved


def is_loopback_host(host: str) -> bool:
    """Whether ``host``, without its port, means this machine; names are not resolved."""
    bare = host.strip("[]").lower().rstrip(".")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def is_private_host(host: str, *, resolve: bool = True) -> bool:
    """Whether ``host``, without its port, leads into a private network; a name that cannot be resolved does not."""
    bare = host.strip("[]")
    if is_loopback_host(bare):
        return True
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if not resolve:
            return False
        try:
            found = socket.getaddrinfo(bare, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        return any(is_private_address(str(entry[4][0])) for entry in found)
    return is_private_address(bare)
