"""Which addresses a mail host may have: public ones, and private ones only where the operator allows them."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from sync.errors import AccessDisabled, Unreachable


def check_host(host: str, port: int, private_networks: Sequence[str], *, plain: bool) -> list[str]:
    """Resolve `host` once and return its addresses, all of them allowed; the caller connects to one of these.

    An address that is not public, and a `plain` connection (no TLS at all), is allowed only inside
    `private_networks` (CIDRs). Raises Unreachable where the name does not resolve, AccessDisabled where an address is
    not allowed; both with the stage `resolve`.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"the host {host!r} is not known: {error}", stage="resolve") from error
    addresses = list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))
    networks = [ipaddress.ip_network(one) for one in private_networks]
    for text in addresses:
        address = ipaddress.ip_address(text)
        mapped = getattr(address, "ipv4_mapped", None) or address
        inside = any(mapped in network for network in networks if network.version == mapped.version)
        if not inside and (plain or not mapped.is_global or mapped.is_multicast):
            why = "a connection without TLS" if plain and mapped.is_global else "not a public address"
            allowed = f"{text} ({host}) is {why}; allow it with ALLOWED_PRIVATE_NETWORKS={text}"
            raise AccessDisabled(allowed, stage="resolve")
    return addresses
