"""Providers known by heart, from known.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accounts.discovery.values import Endpoint


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs mailboxes, and where. `imap` None: it has none that a password opens; `remark` says what there is."""

    name: str
    imap: Endpoint | None
    smtp: Endpoint | None
    domains: tuple[str, ...]
    exchangers: tuple[str, ...]
    remark: str


def by_domain(domain: str) -> Provider | None:
    """Find the provider of an address's domain (A-labels, lower case)."""
    return _BY_DOMAIN.get(domain)


def by_exchanger(host: str) -> Provider | None:
    """Find the provider that runs an MX host (lower case): the most specific name wins."""
    return next((_BY_EXCHANGER[name] for name in _and_above(host) if name in _BY_EXCHANGER), None)


def _and_above(host: str) -> Iterable[str]:
    labels = host.split(".")
    return (".".join(labels[n:]) for n in range(len(labels)))


def _read_providers() -> tuple[Provider, ...]:
    with (Path(__file__).parent / "known.toml").open("rb") as table:
        return tuple(map(_provider, tomllib.load(table)["provider"]))


def _provider(entry: dict[str, Any]) -> Provider:
    return Provider(
        name=entry["name"],
        imap=_endpoint(entry["imap"], 993) if "imap" in entry else None,
        smtp=_endpoint(entry["smtp"], 465) if "smtp" in entry else None,
        domains=tuple(entry.get("domains", ())),
        exchangers=tuple(entry.get("exchangers", ())),
        remark=entry.get("remark", ""),
    )


def _endpoint(text: str, usual_port: int) -> Endpoint:
    host, _, port = text.partition(":")
    number = int(port or usual_port)
    return Endpoint(host, number, "starttls" if number in (143, 587) else "tls")


PROVIDERS = _read_providers()
_BY_DOMAIN = {domain: provider for provider in PROVIDERS for domain in provider.domains}
_BY_EXCHANGER = {name: provider for provider in PROVIDERS for name in provider.exchangers}
