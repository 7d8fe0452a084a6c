"""Where a client comes from, as far as one person can choose it: what limits are counted by."""

from __future__ import annotations

import ipaddress

_IPV6_SITE_BYTES = 8


def site_of(host: str) -> bytes:
    """An IPv4 address; of IPv6 the network of 64 bits, of which its owner has all addresses."""
    address = _address(host)
    if address is None:
        return host.encode()
    if isinstance(address, ipaddress.IPv6Address):
        return address.packed[:_IPV6_SITE_BYTES]
    return address.packed


def is_loopback(host: str) -> bool:
    """Whether it is this machine itself."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
