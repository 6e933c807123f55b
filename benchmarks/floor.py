"""The least that mirroring can cost: a client that streams every raw message once and keeps none."""

from __future__ import annotations

import imaplib
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.mailbox import FOLDERS
from tests.servers.mailbox import MailUser, mailbox_name

#: Bytes read at once.
BUFFER = 1 << 18


@dataclass(frozen=True, slots=True)
class Streamed:
    """What streaming a mailbox took; `cpu` in seconds, of the client alone."""

    messages: int
    octets: int
    seconds: float
    cpu: float


def stream_everything(user: MailUser, folders: Sequence[str] = FOLDERS) -> Streamed:
    """Fetch every message of every folder over one connection, and drop what comes."""
    began, cpu = time.perf_counter(), time.process_time()
    messages = octets = 0
    with socket.create_connection((user.host, user.port)) as connection:
        connection.recv(BUFFER)
        _command(connection, f"LOGIN {user.username} {user.password}")
        for folder in folders:
            answer = _command(connection, f"EXAMINE {mailbox_name(folder)}")
            found = re.search(rb"\* (\d+) EXISTS", answer)
            count = int(found[1]) if found else 0
            if count:
                octets += _drain(connection, "FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])")
            messages += count
    return Streamed(messages, octets, time.perf_counter() - began, time.process_time() - cpu)


def _command(connection: socket.socket, line: str) -> bytes:
    connection.sendall(f"a {line}\r\n".encode())
    answer = b""
    while not re.search(rb"^a (OK|NO|BAD).*\r\n\Z", answer, re.MULTILINE):
        answer += connection.recv(BUFFER)
    if b"\na OK" not in b"\n" + answer:
        raise imaplib.IMAP4.error(answer.decode("utf-8", "replace"))
    return answer


def _drain(connection: socket.socket, line: str) -> int:
    """Send a command and read to its end; return the bytes of the answer."""
    connection.sendall(f"a {line}\r\n".encode())
    octets, tail = 0, b""
    while not tail.endswith(b"\r\n") or b"\r\na OK" not in tail:
        piece = connection.recv(BUFFER)
        if not piece:
            raise EOFError("the server closed the connection")
        octets += len(piece)
        # the last line is short; a message cannot end like it, for its literal is followed by ")"
        tail = (tail + piece)[-200:]
    return octets
