"""What discovery finds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

#: How a connection is encrypted; discovery never proposes one that is not.
Security = Literal["tls", "starttls"]
#: Where servers were found.
Source = Literal["known", "srv", "autoconfig", "mx", "mx-autoconfig"]

_HOST = re.compile(
    r"(?=.{4,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])", re.IGNORECASE
)


class ServersUnknown(LookupError):
    """No servers were found for an address; the message names what to give instead."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server to connect to."""

    host: str
    port: int
    security: Security


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of one mailbox. The three of SMTP are None together: none was found, sending is not possible."""

    imap_host: str
    imap_port: int
    imap_security: Security
    smtp_host: str | None
    smtp_port: int | None
    smtp_security: Security | None
    source: Source
    #: What to log in with; None: the whole address.
    username: str | None = None


def servers(imap: Endpoint, smtp: Endpoint | None, source: Source, *, username: str | None = None) -> Servers:
    """Put two endpoints together."""
    return Servers(
        imap.host,
        imap.port,
        imap.security,
        smtp.host if smtp else None,
        smtp.port if smtp else None,
        smtp.security if smtp else None,
        source,
        username,
    )


def is_host(name: str) -> bool:
    """True for a host name of at least two labels, A-labels included; False for addresses."""
    return _HOST.fullmatch(name) is not None


def a_labels(domain: str) -> str:
    """Write a domain as DNS wants it, lower case; empty where it cannot be written so."""
    try:
        return domain.encode("idna").decode().lower()
    except UnicodeError:
        return ""
