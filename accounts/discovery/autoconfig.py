"""Reading an autoconfig file (Thunderbird's clientConfig 1.1): which servers a domain names for its mailboxes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from accounts.discovery.values import Endpoint, Security, Servers, a_labels, is_host, servers

_SECURITY: dict[str, Security] = {"SSL": "tls", "STARTTLS": "starttls"}


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types: no entity is ever expanded."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ElementTree.ParseError(f"document type {name}")


def read_autoconfig(document: bytes, address: str) -> Servers | None:
    """Return the first encrypted IMAP server of a file, with the first encrypted SMTP server; None: there is no such.

    Placeholders of the address are filled in. Servers without encryption, and files that cannot be read, count as none.
    """
    try:
        # entities, the danger of untrusted XML, are refused above
        root = ElementTree.fromstring(document, ElementTree.XMLParser(target=_NoDoctype()))  # noqa: S314
    except (ElementTree.ParseError, LookupError, ValueError):
        return None
    found = [
        (server, _endpoint(server, address)) for server in root.iterfind("emailProvider/incomingServer[@type='imap']")
    ]
    imap = next(((server, endpoint) for server, endpoint in found if endpoint), None)
    if imap is None:
        return None
    server, endpoint = imap
    outgoing = root.iterfind("emailProvider/outgoingServer[@type='smtp']")
    smtp = next(filter(None, (_endpoint(one, address) for one in outgoing)), None)
    username = _filled(server.findtext("username", ""), address)
    return servers(endpoint, smtp, "autoconfig", username=username if username not in ("", address) else None)


def _endpoint(server: ElementTree.Element, address: str) -> Endpoint | None:
    """Read one server; None: not encrypted, wants a login of another kind, or malformed."""
    host = a_labels(_filled(server.findtext("hostname", ""), address))
    port = server.findtext("port", "").strip()
    security = _SECURITY.get(server.findtext("socketType", "").strip().upper())
    if security is None or not is_host(host) or not re.fullmatch(r"[1-9]\d{0,4}", port) or int(port) > 65535:
        return None
    return Endpoint(host, int(port), security) if _by_password(server.iterfind("authentication")) else None


def _by_password(ways: Iterable[ElementTree.Element]) -> bool:
    """True when a password is among the ways to log in, or none is named."""
    named = {(way.text or "").strip() for way in ways}
    return not named or bool(named & {"password-cleartext", "plain", "password-encrypted", "secure"})


def _filled(text: str, address: str) -> str:
    """Fill in the placeholders of an address."""
    local, _, domain = address.rpartition("@")
    for name, value in (("%EMAILADDRESS%", address), ("%EMAILLOCALPART%", local), ("%EMAILDOMAIN%", domain)):
        text = text.replace(name, value)
    return text.strip()
