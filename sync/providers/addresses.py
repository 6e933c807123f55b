"""Which addresses a mail host may have: public ones, and private ones only where the operator allows them.

Whoever may add accounts must not reach what only this machine reaches.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Sequence

from sync.errors import AccessDisabled, Unreachable

#: Seconds the look-up of a name may take.
RESOLVE_SECONDS = 8.0

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_host(
    host: str, port: int, private_networks: Sequence[str], *, plain: bool, seconds: float = RESOLVE_SECONDS
) -> list[str]:
    """Resolve `host` once and return its addresses that are allowed; the caller connects to one of these.

    An address that is not public, and a `plain` connection (no TLS at all), is allowed only inside
    `private_networks` (CIDRs). Raises Unreachable where the name does not resolve within `seconds`, AccessDisabled
    where no address is allowed; both with the stage `resolve`.
    """
    found = _resolve(host, port, seconds)
    networks = [ipaddress.ip_network(one, strict=False) for one in private_networks]

    def inside(address: Address) -> bool:
        return any(address.version == network.version and address in network for network in networks)

    meant = {address: _where_packets_go(address) for address in found}
    allowed = [one for one in found if all(inside(end) or (not plain and _is_public(end)) for end in meant[one])]
    if not allowed:
        end = meant[found[0]][-1]
        why = "not a public address" if not _is_public(end) else "a connection without TLS"
        remedy = f"allow it with ALLOWED_PRIVATE_NETWORKS={end}"
        raise AccessDisabled(f"{found[0]} ({host}) is {why}; {remedy}", stage="resolve")
    return list(map(str, allowed))


def _resolve(host: str, port: int, seconds: float) -> list[Address]:
    """Look the host up, in a thread of its own: the system's resolver knows no timeout."""
    found: list[Address] = []
    failed: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            # a scope (%eth0) is cut off: link-local addresses are nobody's mail server
            found.extend(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries)
        except (OSError, UnicodeError) as error:
            failed.append(error)

    thread = threading.Thread(target=look_up, name=f"resolve {host}", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise Unreachable(f"the host {host!r} is not known: {failed[0]}", stage="resolve") from failed[0]
    if not found:
        raise Unreachable(f"the host {host!r} was not found within {seconds:.0f} s", stage="resolve")
    return list(dict.fromkeys(found))


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast


def _where_packets_go(address: Address) -> list[Address]:
    """Return the address, and the IPv4 addresses that an IPv6 address of transition carries inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped:
        return [address.ipv4_mapped]
    carried: list[Address] = [address]
    if address.sixtofour:
        carried.append(address.sixtofour)
    if address.teredo:
        carried.extend(address.teredo)
    if address in _NAT64:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return carried
