"""Deciding which servers an address has, and gathering what the decision needs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import quote

from django.conf import settings

from accounts.discovery import known
from accounts.discovery.autoconfig import read_autoconfig
from accounts.discovery.lookups import Internet, Service, Unanswered
from accounts.discovery.values import Endpoint, Security, Servers, ServersUnknown, Source, a_labels, is_host, servers
from accounts.discovery.web import FILE_SECONDS, get_file

#: Seconds that looking for servers may take: the files of the domain, then those of whoever runs its MX.
PATIENCE = 2 * FILE_SECONDS


@dataclass(frozen=True, slots=True)
class Findings:
    """What DNS and the web tell of a domain, each best first."""

    imaps: tuple[Service, ...] = ()
    imap: tuple[Service, ...] = ()
    submissions: tuple[Service, ...] = ()
    submission: tuple[Service, ...] = ()
    mail_exchangers: tuple[str, ...] = ()
    #: Autoconfig files of the domain itself.
    files: tuple[bytes, ...] = ()
    #: False: some question got no answer, so what is missing here may exist.
    complete: bool = True


def discover(address: str, *, internet: Internet | None = None, seconds: float = PATIENCE) -> Servers:
    """Find the servers of an email address; within about `seconds`.

    Providers known by heart cost no look-up. Else, in this order: the domain's SRV records (RFC 6186), its autoconfig
    file, a known provider behind its MX, and the autoconfig file of whoever runs its MX. Where the first that names an
    IMAP server names none to send by, that is taken from the next that does. Servers without encryption are never
    proposed, and names found without DNSSEC can be forged: certificates must be verified.
    `internet`: None: as the settings say (ALLOWED_PRIVATE_NETWORKS, EGRESS_PROXY).
    Raises ServersUnknown.
    """
    domain = domain_of(address)
    internet = internet or internet_of_settings()
    if provider := known.by_domain(domain):
        return _of_provider(provider, address, "known")
    deadline = time.monotonic() + seconds
    findings = look_up(address, internet, seconds=min(seconds, FILE_SECONDS))
    chosen = choose(address, findings) or _of_exchanger(address, findings, internet, deadline)
    if chosen:
        return chosen
    reason = "" if findings.complete else " (DNS did not answer every question)"
    raise ServersUnknown(f"no mail servers are known for {domain}{reason}; name them: --imap HOST --smtp HOST")


def internet_of_settings() -> Internet:
    """Tell how this installation may reach the internet."""
    return Internet(private_networks=tuple(map(str, settings.ALLOWED_PRIVATE_NETWORKS)), proxy=settings.EGRESS_PROXY)


def domain_of(address: str) -> str:
    """Return the domain of an address as DNS wants it (A-labels, lower case). Raises ServersUnknown."""
    local, _, domain = address.rpartition("@")
    encoded = a_labels(domain.strip().rstrip("."))
    if not local or not is_host(encoded):
        raise ServersUnknown(f"{address!r} is not an email address; name the server: --imap HOST")
    return encoded


def choose(address: str, findings: Findings) -> Servers | None:
    """Decide by what was found; None: nothing names an IMAP server.

    Raises ServersUnknown where a known provider has none.
    """
    candidates = [
        _of_services(findings),
        *(read_autoconfig(document, address) for document in findings.files),
        _of_known_exchanger(address, findings.mail_exchangers),
    ]
    usable = [one for one in candidates if one is not None]
    if not usable:
        return None
    best = usable[0]
    sending = next((one for one in usable if one.smtp_host), best)
    return replace(best, smtp_host=sending.smtp_host, smtp_port=sending.smtp_port, smtp_security=sending.smtp_security)


def look_up(address: str, internet: Internet, *, seconds: float = FILE_SECONDS) -> Findings:
    """Ask all questions at once; files may take so many seconds, and DNS takes 4 at most."""
    domain = domain_of(address)
    with ThreadPoolExecutor(max_workers=7, thread_name_prefix="discovery") as pool:
        asked = {
            name: pool.submit(_services, internet, f"_{name}", domain)
            for name in ("imaps", "imap", "submissions", "submission")
        }
        exchangers = pool.submit(_mail_exchangers, internet, domain)
        files = [pool.submit(get_file, internet, url, seconds) for url in autoconfig_urls(address, domain)]
    told = {name: future.result() for name, future in asked.items()}
    return Findings(
        imaps=told["imaps"] or (),
        imap=told["imap"] or (),
        submissions=told["submissions"] or (),
        submission=told["submission"] or (),
        mail_exchangers=exchangers.result() or (),
        files=tuple(document for future in files if (document := future.result())),
        complete=None not in (*told.values(), exchangers.result()),
    )


def autoconfig_urls(address: str, domain: str) -> tuple[str, ...]:
    """Tell where a domain keeps its autoconfig file, the likelier place first."""
    return (
        f"https://autoconfig.{domain}/mail/config-v1.1.xml?emailaddress={quote(address)}",
        f"https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
    )


def _services(internet: Internet, name: str, domain: str) -> tuple[Service, ...] | None:
    try:
        return internet.services(name, domain)
    except Unanswered:
        return None


def _mail_exchangers(internet: Internet, domain: str) -> tuple[str, ...] | None:
    try:
        return internet.mail_exchangers(domain)
    except Unanswered:
        return None


def _of_services(findings: Findings) -> Servers | None:
    """Read SRV records; TLS from the start is preferred whatever the priorities (RFC 8314 3.3)."""
    imap = _endpoint(findings.imaps, "tls") or _endpoint(findings.imap, "starttls")
    smtp = _endpoint(findings.submissions, "tls") or _endpoint(findings.submission, "starttls")
    return servers(imap, smtp, "srv") if imap else None


def _endpoint(services: Iterable[Service], security: Security) -> Endpoint | None:
    """Take the best service; None: there is none, or it is said not to exist (RFC 6186 3.4)."""
    usable = (service for service in services if is_host(service.host) and service.port)
    return next((Endpoint(service.host, service.port, security) for service in usable), None)


def _of_known_exchanger(address: str, exchangers: Iterable[str]) -> Servers | None:
    provider = next(filter(None, map(known.by_exchanger, exchangers)), None)
    return _of_provider(provider, address, "mx") if provider else None


def _of_provider(provider: known.Provider, address: str, source: Source) -> Servers:
    if provider.imap is None:
        raise ServersUnknown(f"{provider.name} has no IMAP server for {address}; {provider.remark}")
    return servers(provider.imap, provider.smtp, source)


def _of_exchanger(address: str, findings: Findings, internet: Internet, deadline: float) -> Servers | None:
    """Ask the web for the autoconfig file of whoever runs the best MX: the domain above it, then that above."""
    if not findings.mail_exchangers:
        return None
    labels = findings.mail_exchangers[0].split(".")
    # never a bare top-level domain, nor one like co.uk
    places = [".".join(labels[n:]) for n in (1, 2) if len(labels) > n + 1 and len("".join(labels[n:])) > 5]
    left = min(FILE_SECONDS, deadline - time.monotonic())
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="discovery") as pool:
        documents = list(pool.map(lambda place: get_file(internet, autoconfig_urls(address, place)[0], left), places))
    found = (read_autoconfig(document, address) for document in documents if document)
    best = next(filter(None, found), None)
    return replace(best, source="mx-autoconfig") if best else None
