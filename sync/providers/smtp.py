"""Logging in to an SMTP server to prove that its login works; nothing is sent."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any

from sync.errors import AccessDisabled, BadCredentials, MailError, ServerMisbehaved, Throttled, Unreachable
from sync.providers.addresses import RESOLVE_SECONDS, check_host
from sync.providers.base import Login
from sync.providers.imap_connect import tls_context

NUL = "\0"
#: Bytes of answers that a login may take.
MOST_ANSWERED = 1 << 18


def prove_smtp(login: Login) -> None:
    """Log in to the SMTP server that `login` names, and hang up.

    Raises any MailError, with the stage `smtp`, by `login.deadline` at the latest.
    """
    try:
        _log_in(login)
    except MailError as error:
        error.stage = "smtp"
        raise


def _log_in(login: Login) -> None:
    deadline = login.deadline or time.monotonic() + login.timeout
    patience = max(0.1, min(RESOLVE_SECONDS, login.timeout, deadline - time.monotonic()))
    addresses = check_host(
        login.host, login.port, login.private_networks, plain=login.security == "none", seconds=patience
    )
    client = _Client(login.host, login.port, addresses, deadline, login.timeout)
    with _as_mail_error(login, client), _cut_off_at(deadline, client):
        client.open(tls_context(verify=login.verify_certificates), login.security)
        client.authenticate(login.username, login.password)
        with suppress(smtplib.SMTPException, OSError):
            client.quit()


class _Client(smtplib.SMTP):
    """A client of addresses that were looked at: the name is not resolved again, so it cannot change under us."""

    def __init__(self, host: str, port: int, addresses: Sequence[str], deadline: float, timeout: float) -> None:
        # a name, because smtplib would ask DNS for ours, for as long as it takes
        super().__init__(local_hostname="localhost", timeout=timeout)
        self.host, self.port, self.addresses, self.deadline = host, port, addresses, deadline
        self.cut_off = False
        #: How far it is, for people.
        self.doing = "connecting"

    def open(self, context: ssl.SSLContext, security: str) -> None:
        """Connect, read the greeting, and switch to TLS where that is wanted."""
        self.sock = self._first_that_answers()
        address = self.sock.getsockname()[0]
        # RFC 5321 4.1.3: a client without a name of its own gives its address
        self.local_hostname = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
        if security == "tls":
            self._secure(context)
        self.doing = "greeting"
        code, words = self.getreply()
        if code != 220:
            raise smtplib.SMTPConnectError(code, words)
        if security == "starttls":
            self.doing = "TLS"
            # starttls checks the certificate for this name
            self._host = self.host
            self.starttls(context=context)
        self.doing = "login"

    def authenticate(self, username: str, password: str) -> None:
        """Log in by AUTH PLAIN (RFC 4616), else LOGIN, in UTF-8: smtplib's own way takes ASCII alone."""
        self.ehlo_or_helo_if_needed()
        offered = self.esmtp_features.get("auth", "").upper().split()
        if "PLAIN" in offered:
            code, _ = self.docmd("AUTH", f"PLAIN {_base64(f'{NUL}{username}{NUL}{password}')}")
        elif "LOGIN" in offered:
            code, _ = self.docmd("AUTH", "LOGIN")
            for word in (username, password):
                code, _ = self.docmd(_base64(word)) if code == 334 else (code, b"")
        else:
            raise AccessDisabled("the SMTP server takes no passwords this way")
        if code != 235:
            # RFC 4954 6: 4xx may pass
            refused = BadCredentials if code >= 500 else Throttled
            raise refused(f"the SMTP server refused the login (code {code})")

    def _first_that_answers(self) -> socket.socket:
        failure: OSError | None = None
        for place, address in enumerate(self.addresses):
            left = (self.deadline - time.monotonic()) / (len(self.addresses) - place)
            try:
                return socket.create_connection((address, self.port), max(0.1, min(left, self.timeout)))
            except OSError as error:
                failure = error
        assert failure is not None
        raise failure

    def _secure(self, context: ssl.SSLContext) -> None:
        self.doing = "TLS"
        assert self.sock is not None
        # known before the handshake, so that the deadline can cut it
        secured = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = secured
        secured.do_handshake()

    def getreply(self) -> tuple[int, bytes]:
        """Read one answer; of all answers together only so many bytes."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()

    def cut(self) -> None:
        """Break the connection, from another thread: a timeout alone lets a server drip a byte a second for ever."""
        self.cut_off = True
        if self.sock is not None:
            with suppress(OSError):
                # not SSLSocket's own, which another thread may be in
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode("ascii")


class _Bounded:
    """What smtplib reads answers from, up to a number of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.left = MOST_ANSWERED

    def readline(self, most: int) -> bytes:
        """Read a line of up to `most` bytes."""
        line = self.file.readline(most)
        self.left -= len(line)
        if self.left < 0:
            raise ServerMisbehaved(f"the server answers with more than {MOST_ANSWERED} bytes")
        return line

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@contextmanager
def _cut_off_at(deadline: float, client: _Client) -> Iterator[None]:
    """Break the connection at the deadline, and close it at the end."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), client.cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        client.close()


@contextmanager
def _as_mail_error(login: Login, client: _Client) -> Iterator[None]:
    """Turn what smtplib and ssl raise into MailErrors. A server's own words may repeat the password: only its code."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise AccessDisabled(f"the certificate of {login.host}: {error.verify_message}") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        where = f"SMTP {login.host}:{login.port}, {client.doing}"
        if client.cut_off:
            raise Unreachable(f"{where}: the server took too long") from error
        raise _kind(error)(f"{where}: {_words(error)}") from error


def _kind(error: Exception) -> type[MailError]:
    match error:
        case smtplib.SMTPNotSupportedError():
            return AccessDisabled
        case smtplib.SMTPServerDisconnected():
            return Unreachable
        case smtplib.SMTPException() | ValueError():
            return ServerMisbehaved
        case ssl.SSLError() if not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | TimeoutError):
            return ServerMisbehaved
    return Unreachable


def _words(error: Exception) -> Any:
    match error:
        case smtplib.SMTPResponseException() if error.smtp_code < 0:
            return "this is no SMTP server"
        case smtplib.SMTPResponseException():
            return f"the server answers {error.smtp_code}"
        case smtplib.SMTPServerDisconnected() if isinstance(error.__context__, TimeoutError):
            return "no answer in time"
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return f"the server does not speak TLS there ({error.reason})"
    return error
