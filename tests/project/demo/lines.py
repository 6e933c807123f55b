"""A client that sends lines and returns lines: for answers that libraries would tidy up."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Self


class LineClient:
    """One connection; `command` returns all lines up to and including the tagged one."""

    def __init__(self, port: int, *, timeout: float = 10.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self.socket.makefile("rb")
        self._tags = 0
        self.greeting = self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def line(self) -> bytes:
        """Return the next line with its literals, without its end; b"" at the end of the connection."""
        whole = b""
        while line := self._file.readline():
            whole += line
            literal = re.search(rb"\{(\d+)\}\r\n\Z", line)
            if literal is None:
                return whole.removesuffix(b"\r\n")
            whole += self._file.read(int(literal[1]))
        return whole

    def command(self, text: str | bytes) -> list[bytes]:
        """Send a command under a new tag; the tag is cut off the last line returned."""
        self._tags += 1
        tag = b"t%d" % self._tags
        self.send(tag + b" " + (text.encode() if isinstance(text, str) else text) + b"\r\n")
        told: list[bytes] = []
        while line := self.line():
            if line.startswith(tag + b" "):
                return [*told, line[len(tag) + 1 :]]
            told.append(line)
        return [*told, b""]

    def login(self, username: str, password: str) -> list[bytes]:
        return self.command(f"LOGIN {username} {password}")
