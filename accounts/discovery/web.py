"""Getting a small file over HTTPS from a host we know nothing about: bounded in time, size and reach."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import unquote, urljoin, urlsplit

from accounts.discovery.lookups import Internet

#: Seconds for one file, redirects included.
FILE_SECONDS = 6.0
#: Bytes a file may have.
SIZE = 256 * 1024
REDIRECTS = 3


def get_file(internet: Internet, url: str, seconds: float = FILE_SECONDS) -> bytes | None:
    """Return what an https URL names; None for whatever reason it cannot be had in so many seconds."""
    deadline = time.monotonic() + seconds
    try:
        for _ in range(REDIRECTS + 1):
            document, elsewhere = _get(internet, url, deadline)
            if elsewhere is None:
                return document
            url = urljoin(url, elsewhere)
    # ssl's errors are OSErrors; ValueError: a malformed URL
    except (OSError, http.client.HTTPException, ValueError):
        pass
    return None


def _get(internet: Internet, url: str, deadline: float) -> tuple[bytes | None, str | None]:
    """Ask once; return the file, or where else it is."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.port not in (None, internet.https_port):
        return None, None
    connection = _connection(internet, parts.hostname, deadline)
    if connection is None:
        return None, None
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with contextlib.closing(connection), _cut_off_at(deadline, connection):
        connection.request("GET", path, headers={"Accept": "text/xml, application/xml", "User-Agent": "mailmirror"})
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308):
            return None, response.getheader("Location")
        document = response.read(SIZE + 1) if response.status == 200 else None
    return (document if document and len(document) <= SIZE else None), None


def _connection(internet: Internet, host: str, deadline: float) -> _Connection | None:
    """Prepare a connection; None: there is no way to this host for us."""
    trust = ssl.create_default_context(cafile=internet.certificates)
    addresses = internet.addresses(host) if internet.proxy is None else ()
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    if internet.proxy is None:
        return _DirectConnection(host, internet.https_port, addresses, trust, left) if addresses else None
    proxy = urlsplit(internet.proxy)
    if proxy.scheme != "http" or not proxy.hostname:
        return None
    connection = _Connection(proxy.hostname, proxy.port or 80, timeout=left, context=trust)
    headers = {}
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        headers["Proxy-Authorization"] = "Basic " + base64.b64encode(login).decode()
    connection.set_tunnel(host, internet.https_port, headers)
    return connection


class _Connection(http.client.HTTPSConnection):
    """Keeps its socket at hand: http.client lets go of it before the body is read."""

    opened: socket.socket | None = None

    def connect(self) -> None:
        super().connect()
        self.opened = self.sock


class _DirectConnection(_Connection):
    """A connection to addresses that were looked at: the name is not resolved again, so it cannot change under us."""

    def __init__(self, host: str, port: int, addresses: tuple[str, ...], trust: ssl.SSLContext, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout, context=trust)
        self._addresses = addresses
        self._trust = trust
        self._until = time.monotonic() + timeout

    def connect(self) -> None:
        raw = self._first_that_answers()
        raw.settimeout(max(0.01, self._until - time.monotonic()))
        # known before the handshake, so that the deadline can cut it
        self.sock = self._trust.wrap_socket(raw, server_hostname=self.host, do_handshake_on_connect=False)
        self.opened = self.sock
        self.sock.do_handshake()

    def _first_that_answers(self) -> socket.socket:
        assert self.timeout is not None
        for address in self._addresses[:-1]:
            with contextlib.suppress(OSError):
                # a dead address must leave time for the next
                return socket.create_connection((address, self.port), self.timeout / len(self._addresses))
        return socket.create_connection((self._addresses[-1], self.port), self.timeout)


@contextlib.contextmanager
def _cut_off_at(deadline: float, connection: _Connection) -> Iterator[None]:
    """Break a connection at the deadline: a timeout alone lets a server drip a byte a second for ever."""

    def cut() -> None:
        with contextlib.suppress(OSError):
            if opened := connection.sock or connection.opened:
                # not SSLSocket's own, which another thread may be in
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
