"""Connecting and logging in to an IMAP server: addresses, TLS, LOGIN and AUTHENTICATE, within CONNECT_SECONDS."""

from __future__ import annotations

import imaplib
import math
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

from imapclient import IMAPClient

from sync.errors import AccessDisabled, BadCredentials, MailError, ServerMisbehaved, Unreachable
from sync.providers.addresses import RESOLVE_SECONDS, check_host
from sync.providers.base import Login
from sync.providers.imap_wire import ImapWire

#: Seconds from looking up the name to the end of the login; whoever connects an account waits for it.
CONNECT_SECONDS = 18.0


class ImapClient(IMAPClient):  # type: ignore[misc]
    """IMAPClient over a socket that is open already; it logs in, and `wire` is used from then on."""

    def __init__(self, wire: ImapWire) -> None:
        self.wire = wire
        super().__init__(wire.host, wire.port, ssl=False, timeout=wire.timeout)
        # IMAPClient makes imaplib format every line for a log that nobody reads
        wire.debug = 0

    def _create_IMAP4(self) -> ImapWire:  # noqa: N802  # IMAPClient's name
        return self.wire


def connect(login: Login) -> tuple[ImapWire, frozenset[str]]:
    """Log in; return the connection and the capabilities offered afterwards, upper case. Raises any MailError."""
    deadline = min(time.monotonic() + CONNECT_SECONDS, login.deadline or math.inf)
    patience = max(0.1, min(RESOLVE_SECONDS, login.timeout, deadline - time.monotonic()))
    addresses = check_host(
        login.host, login.port, login.private_networks, plain=login.security == "none", seconds=patience
    )
    sock = _open_socket(addresses, login, deadline)
    wire: ImapWire | None = None
    try:
        if login.security == "tls":
            sock = _start_tls(sock, login, deadline)
        with _as_mail_error(None):
            wire = ImapWire(sock, host=login.host, port=login.port, timeout=login.timeout, deadline=deadline)
        return wire, _log_in(wire, login)
    except BaseException:
        wire.shutdown() if wire else sock.close()
        raise


def _log_in(wire: ImapWire, login: Login) -> frozenset[str]:
    with _hiding_the_password(login), _as_mail_error(wire):
        client = ImapClient(wire)
        if login.security == "starttls":
            _upgrade(client, wire, login)
        wire.stage = "login"
        if wire.state == "NONAUTH":
            _authenticate(client, wire, login)
        offered = frozenset(name.decode("ascii", "replace") for name in client.capabilities())
    wire.stage, wire.deadline = None, login.deadline
    return offered


def _open_socket(addresses: Sequence[str], login: Login, deadline: float) -> socket.socket:
    """Connect to the first address that answers; each gets its share of the time left."""
    failure: OSError | None = None
    for place, address in enumerate(addresses):
        left = (deadline - time.monotonic()) / (len(addresses) - place)
        try:
            sock = socket.create_connection((address, login.port), timeout=max(0.1, min(left, login.timeout)))
        except OSError as error:
            failure = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return sock
    raise Unreachable(f"{login.host}:{login.port}: {failure}", stage="connect") from failure


# TLS


@lru_cache(maxsize=2)
def tls_context(*, verify: bool) -> ssl.SSLContext:
    """Return the one context of this process for a way of verifying: each costs 825 KB and 25 ms."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _start_tls(sock: socket.socket, login: Login, deadline: float) -> ssl.SSLSocket:
    sock.settimeout(max(0.1, min(login.timeout, deadline - time.monotonic())))
    with _as_tls_error(login):
        return tls_context(verify=login.verify_certificates).wrap_socket(sock, server_hostname=login.host)


def _upgrade(client: ImapClient, wire: ImapWire, login: Login) -> None:
    wire.stage = "tls"
    if wire.state != "NONAUTH":
        # RFC 9051 11.1: who is greeted as logged in cannot start TLS; an attacker would greet us so
        raise ServerMisbehaved("the server greets with PREAUTH, so TLS cannot be started", stage="tls")
    if not client.has_capability("STARTTLS"):
        raise AccessDisabled(f"{login.host} does not offer STARTTLS", stage="tls")
    with _as_tls_error(login):
        client.starttls(tls_context(verify=login.verify_certificates))


@contextmanager
def _as_tls_error(login: Login) -> Iterator[None]:
    """Turn what TLS raises into MailErrors. A bad certificate needs the owner, everything else may pass."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise AccessDisabled(f"the certificate of {login.host}: {error.verify_message}", stage="tls") from error
    except TimeoutError as error:
        raise Unreachable(f"{login.host}: no answer to TLS in time", stage="tls") from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise Unreachable(f"{login.host} closed the connection during TLS", stage="tls") from error
    except ssl.SSLError as error:
        raise ServerMisbehaved(f"{login.host} does not speak TLS there: {error.reason}", stage="tls") from error
    except OSError as error:
        raise Unreachable(f"{login.host}: {error}", stage="tls") from error
    except ValueError as error:
        # the ssl module refuses host names such as "" or ".example"
        raise Unreachable(f"{login.host} is no name for TLS", stage="tls") from error


# Logging in


def _authenticate(client: ImapClient, wire: ImapWire, login: Login) -> None:
    """Log in by AUTHENTICATE PLAIN (RFC 4616), which takes every letter, else by LOGIN."""
    offered = {name.decode("ascii", "replace") for name in client.capabilities()}
    if "AUTH=PLAIN" in offered:
        _authenticate_plain(client, wire, login, at_once="SASL-IR" in offered)
    elif "LOGINDISABLED" in offered:
        raise AccessDisabled(f"{login.host} takes no passwords this way", stage="login")
    else:
        _login_plain(client, wire, login)


@contextmanager
def _hiding_the_password(login: Login) -> Iterator[None]:
    """Take the password out of errors: a server may repeat what it got, in each way that it was sent or is printed."""
    quoted = login.password.replace("\\", "\\\\").replace('"', '\\"')
    encoded = b64encode(f"\0{login.username}\0{login.password}".encode()).decode("ascii")
    try:
        yield
    except MailError as error:
        text = str(error)
        for way in (encoded, quoted, login.password):
            for printed in filter(None, (way, repr(way)[1:-1], repr(way.encode())[2:-1])):
                text = text.replace(printed, "***")
        if text == str(error):
            raise
        error.args = (text,)
        # what it came from says the same
        raise error from None


def _authenticate_plain(client: ImapClient, wire: ImapWire, login: Login, *, at_once: bool) -> None:
    if "\0" in login.username + login.password:
        raise BadCredentials("a user name or password with a NUL cannot be sent", stage="login")
    if not at_once:
        client.plain_login(login.username, login.password)
        return
    # RFC 4959: without waiting for the server to ask
    secret = b64encode(f"\0{login.username}\0{login.password}".encode()).decode("ascii")
    wire._simple_command("AUTHENTICATE", "PLAIN", secret)
    wire.state = "AUTH"


def _login_plain(client: ImapClient, wire: ImapWire, login: Login) -> None:
    if any(letter in "\0\r\n" for letter in login.username + login.password):
        raise BadCredentials("a user name or password with a line break cannot be sent", stage="login")
    quoted = login.username.replace("\\", "\\\\").replace('"', '\\"')
    # IMAPClient quotes the password alone, and imaplib would refuse letters outside ASCII
    wire.use_utf8()
    client.login(f'"{quoted}"', login.password)


@contextmanager
def _as_mail_error(wire: ImapWire | None) -> Iterator[None]:
    """Turn what imaplib itself raises into ServerMisbehaved; the wire raises MailErrors already."""
    try:
        yield
    except imaplib.IMAP4.error as error:
        stage = wire.stage if wire else "connect"
        raise ServerMisbehaved(f"unexpected answer: {error}", stage=stage) from error
