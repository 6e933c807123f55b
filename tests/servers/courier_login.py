"""Courier's login step, without its global authentication daemon: `courier_login.py PORT IMAPD PASSWORD HOMES`.

Takes LOGIN, AUTHENTICATE PLAIN, CAPABILITY, NOOP and LOGOUT; after a login the real imapd, started with what Courier's
own login hands on, serves the connection. Any user is let in with PASSWORD. Stands alone: standard library only.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

CAPABILITIES = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE"


class Login:
    """One connection until its login; no byte is read that belongs to imapd."""

    def __init__(self, connection: socket.socket, password: str) -> None:
        self._connection = connection
        self._password = password

    def user(self) -> tuple[str, str] | None:
        """Serve commands until a login succeeds; return its tag and user, None when the client left."""
        self._say(f"* OK [CAPABILITY {CAPABILITIES} AUTH=PLAIN] Courier-IMAP ready.")
        while line := self._command():
            tag, verb, *arguments = line
            match verb.upper(), arguments:
                case "CAPABILITY", []:
                    self._say(f"* CAPABILITY {CAPABILITIES} AUTH=PLAIN", f"{tag} OK CAPABILITY completed")
                case "NOOP", []:
                    self._say(f"{tag} OK NOOP completed")
                case "LOGOUT", []:
                    self._say("* BYE Courier-IMAP server shutting down", f"{tag} OK LOGOUT completed")
                    return None
                case "LOGIN", [user, password]:
                    if password == self._password:
                        return tag, user
                    self._say(f"{tag} NO Login failed.")
                case "AUTHENTICATE", [mechanism, *initial] if mechanism.upper() == "PLAIN":
                    _, user, password = self._plain(initial)
                    if password == self._password:
                        return tag, user
                    self._say(f"{tag} NO Login failed.")
                case _:
                    self._say(f"{tag} NO Error in IMAP command received by server.")
        return None

    def _plain(self, initial: list[str]) -> list[str]:
        """Read the message of SASL PLAIN (RFC 4616): authorization id, user, password; empty ones when malformed."""
        if not initial:
            self._say("+ ")
        try:
            parts = base64.b64decode(initial[0] if initial else self._line()).decode().split("\0")
        except ValueError:
            parts = []
        return parts if len(parts) == 3 else ["", "", ""]

    def _command(self) -> list[str]:
        """Read a command with its literals, split into words; empty at the end of the connection."""
        words: list[str] = []
        line = self._line()
        while literal := re.search(r"\{(\d+)(\+?)\}$", line):
            if not literal[2]:
                self._say("+ go on")
            words += _words(line[: literal.start()])
            words.append(self._read(int(literal[1])).decode())
            line = self._line()
        words += _words(line)
        return words if len(words) > 1 else []

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            byte = self._connection.recv(1)
            if not byte:
                return ""
            line += byte
        return line.decode("utf-8", "replace").rstrip("\r\n")

    def _read(self, size: int) -> bytes:
        text = b""
        while len(text) < size and (more := self._connection.recv(size - len(text))):
            text += more
        return text

    def _say(self, *lines: str) -> None:
        self._connection.sendall("".join(f"{line}\r\n" for line in lines).encode())


def _words(line: str) -> list[str]:
    """Split at blanks; quoted strings lose their quotes."""
    found = re.findall(r'"((?:\\.|[^"\\])*)"|([^\s"]+)', line)
    return [atom or re.sub(r"\\(.)", r"\1", quoted) for quoted, atom in found]


def serve(connection: socket.socket, imapd: str, password: str, homes: Path) -> None:
    """Log a client in and hand its connection to imapd, in the user's home, with the rights of who owns the homes."""
    with connection, contextlib.suppress(ConnectionError):
        if not (login := Login(connection, password).user()):
            return
        tag, user = login
        home = homes / user
        owner, privileged = homes.stat(), os.geteuid() == 0
        process = subprocess.Popen(
            [imapd, "Maildir"],
            stdin=connection.fileno(),
            stdout=connection.fileno(),
            cwd=home,
            env={
                **os.environ,
                "HOME": str(home),
                "AUTHENTICATED": user,
                "AUTHADDR": user,
                "AUTHFULLNAME": user,
                "AUTHOPTIONS": "",
                "IMAPLOGINTAG": tag,
                "IMAP_CAPABILITY": CAPABILITIES,
            },
            # None: as ourselves
            user=owner.st_uid if privileged else None,
            group=owner.st_gid if privileged else None,
            extra_groups=[] if privileged else None,
        )
    # now imapd alone holds the connection
    process.wait()


def main() -> None:
    """Listen until SIGTERM, which ends the sessions too: all are in this process's group."""
    port, imapd, password, homes = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))
    with socket.create_server(("127.0.0.1", int(port)), backlog=512) as listener:
        while True:
            connection, _ = listener.accept()
            arguments = (connection, imapd, password, Path(homes))
            threading.Thread(target=serve, args=arguments, daemon=True).start()


if __name__ == "__main__":
    main()
