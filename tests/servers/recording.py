"""A stretch of wire before a server that writes down what clients ask: what a mirror downloads, nobody else can say."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import replace
from types import TracebackType
from typing import Self

from tests.servers.mailbox import MailUser
from tests.servers.processes import free_ports

_COMMAND = re.compile(rb"^[A-Za-z0-9.]+ (.*?)\r?$", re.MULTILINE)


class Recorder:
    """Passes connections on to a port of 127.0.0.1 until it is left; a context manager. Plain text only."""

    def __init__(self, port: int) -> None:
        self._target = port
        (self.port,) = free_ports(1)
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._said: list[str] = []

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # wakes accept, which a close alone does not
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for one in self._open:
                _end(one)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()

    def before(self, user: MailUser) -> MailUser:
        """Return the user as reached through this wire."""
        return replace(user, port=self.port)

    @property
    def commands(self) -> list[str]:
        """What was asked since the start or the last `forget`, without tags; what is in literals is missing."""
        with self._lock:
            return list(self._said)

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._said.clear()

    def bodies_asked(self) -> list[str]:
        """The FETCH commands that ask for the text of messages, not for some header fields alone."""
        asked = [one for one in self.commands if one.upper().startswith(("UID FETCH ", "FETCH "))]
        return [one for one in asked if re.search(r"RFC822(?!\.SIZE)|BODY(?:\.PEEK)?\[(?!HEADER\.FIELDS )", one, re.I)]

    def _run(self, target: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for one in (client, server):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open += [client, server]
                self._run(self._listen, client, server)
                self._run(self._pass_on, server, client)

    def _listen(self, client: socket.socket, server: socket.socket) -> None:
        rest = b""
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                *lines, rest = (rest + data).split(b"\n")
                with self._lock:
                    self._said += [
                        found[1].decode("utf-8", "replace") for line in lines if (found := _COMMAND.match(line))
                    ]
                server.sendall(data)
        _end(server)

    def _pass_on(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 18):
                client.sendall(data)
        _end(client)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
