"""Asking DNS about a domain, within seconds. How the internet is reached is a value: tests bring their own."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.IN.SRV
import dns.resolver

#: Seconds for one name, with all repetitions.
DNS_PATIENCE = 4.0


class Unanswered(Exception):
    """No DNS server answered in time, or none could; whether the name exists is not known."""


@dataclass(frozen=True, slots=True)
class Service:
    """One SRV record; `host` is empty where the record says that there is no such service (RFC 2782, target ".")."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Internet:
    """How DNS and the web are reached; unless told, as the system does."""

    #: Empty: the system's.
    nameservers: tuple[str, ...] = ()
    dns_port: int = 53
    https_port: int = 443
    #: CIDRs that may be asked although they are not public.
    private_networks: tuple[str, ...] = ()
    #: Certificates to trust instead of the system's.
    certificates: Path | None = None
    #: http://[USER:PASSWORD@]HOST:PORT, asked for every file: it resolves the names and guards them, not we.
    #: Through a proxy of another kind no files are looked for.
    proxy: str | None = None

    def services(self, name: str, domain: str) -> tuple[Service, ...]:
        """Tell the SRV records of a domain's service, `_imaps` say, best first. Raises Unanswered."""
        found = [
            (record.priority, -record.weight, _host(record.target), record.port)
            for record in self._records(f"{name}._tcp.{domain}", "SRV")
            if isinstance(record, dns.rdtypes.IN.SRV.SRV)
        ]
        return tuple(Service(host, port) for _, _, host, port in sorted(found))

    def mail_exchangers(self, domain: str) -> tuple[str, ...]:
        """Tell the MX hosts of a domain, best first; a null MX (RFC 7505) is none. Raises Unanswered."""
        found = [
            (record.preference, _host(record.exchange))
            for record in self._records(domain, "MX")
            if isinstance(record, dns.rdtypes.ANY.MX.MX)
        ]
        return tuple(host for _, host in sorted(found) if host)

    def addresses(self, host: str) -> tuple[str, ...]:
        """Resolve a host; none where one of its addresses is not public, nor inside `private_networks`."""
        try:
            answers = self._resolver().resolve_name(host, lifetime=DNS_PATIENCE)
        except (dns.exception.DNSException, OSError):
            return ()
        addresses = tuple(answers.addresses())
        return addresses if all(map(self._may_ask, addresses)) else ()

    def _may_ask(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        mapped = (address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None) or address
        if mapped.is_global and not mapped.is_multicast:
            return True
        return any(mapped in ipaddress.ip_network(network) for network in self.private_networks)

    def _records(self, name: str, kind: str) -> Iterable[dns.rdata.Rdata]:
        try:
            return self._resolver().resolve(name, kind, lifetime=DNS_PATIENCE, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.YXDOMAIN):
            return ()
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(str(error)) from error

    def _resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=not self.nameservers)
        if self.nameservers:
            resolver.nameservers = list(self.nameservers)
        resolver.port = self.dns_port
        return resolver


def _host(name: object) -> str:
    """Write a DNS name without its last dot, lower case; the root is empty."""
    return str(name).rstrip(".").lower()
