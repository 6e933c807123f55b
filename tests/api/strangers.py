"""Servers that nobody should have to connect to: they hang, drip, flood, talk nonsense, repeat secrets."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.servers.certificates import make_certificate

#: What a server does with one connection; the second argument is set when the test is over.
Conduct = Callable[[socket.socket, threading.Event], None]

#: Seconds between two bytes of a server that drips.
DRIP = 0.2


class _Stranger(socketserver.ThreadingTCPServer):
    daemon_threads = True
    conduct: Conduct
    over: threading.Event

    def handle_error(self, *arguments: object) -> None:
        """The client hung up, which is what we want of it."""


class _Visit(socketserver.BaseRequestHandler):
    server: _Stranger

    def handle(self) -> None:
        self.server.conduct(self.request, self.server.over)


@contextlib.contextmanager
def stranger(conduct: Conduct) -> Iterator[int]:
    """Listen on 127.0.0.1 and treat each connection so; gives the port."""
    with _Stranger(("127.0.0.1", 0), _Visit) as server:
        server.conduct, server.over = conduct, threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.over.set()
        server.shutdown()


def hang(connection: socket.socket, over: threading.Event) -> None:
    """Accept, and say nothing."""
    over.wait(60)


def close_at_once(connection: socket.socket, over: threading.Event) -> None:
    """Hang up without a word."""


def says(words: bytes) -> Conduct:
    """Say this at once, and nothing more."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(words)
        over.wait(60)

    return conduct


def drips(words: bytes) -> Conduct:
    """Say this, then go on with a byte now and then, for ever."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(words)
        while not over.wait(DRIP):
            connection.sendall(b"x")

    return conduct


def floods(words: bytes, again: bytes) -> Conduct:
    """Say this, then something again and again, as fast as it is taken."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(words)
        while not over.is_set():
            connection.sendall(again)

    return conduct


def smtp(answer: Callable[[bytes], bytes], greeting: bytes = b"220 mail.example ESMTP\r\n") -> Conduct:
    """An SMTP server that takes passwords, and whose answer to AUTH PLAIN is made of what it got."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        with connection.makefile("rwb", buffering=0) as file:
            file.write(greeting)
            while line := file.readline():
                word, _, rest = line.strip().partition(b" ")
                if word.upper() == b"EHLO":
                    file.write(b"250-mail.example\r\n250 AUTH PLAIN\r\n")
                elif word.upper() == b"AUTH":
                    file.write(answer(b64decode(rest.partition(b" ")[2])) + b"\r\n")
                else:
                    file.write(b"221 bye\r\n")

    return conduct


def secured(conduct: Conduct, directory: Path, *names: str, asked: list[str] | None = None) -> Conduct:
    """Begin with TLS, with a certificate for these names that nobody vouches for; note the names asked for."""
    certificate, key = make_certificate(directory, *names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def note(_connection: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
        if asked is not None:
            asked.append(name)

    context.sni_callback = note

    def begin(connection: socket.socket, over: threading.Event) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as inside:
            conduct(inside, over)

    return begin
