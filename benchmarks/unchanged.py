"""What it costs to find out that nothing changed: passes over an unchanged account, in one process.

    python -m benchmarks.unchanged

Prints JSON. A process of its own, with a PostgreSQL of its own, so that no worker of a running stack takes part.
"""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Figure, Section
from benchmarks.processes import cpu_by_group, spent

MESSAGES = 300
FOLDERS = 50
PASSES = 100


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Means of one pass: round trips, and seconds of CPU of ours and of PostgreSQL."""

    round_trips: float
    ours: float
    postgres: float


def report() -> Section:
    """Measure in a fresh process, and tell."""
    command = [sys.executable, "-m", "benchmarks.unchanged"]
    out = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True).stdout
    found = Unchanged(**json.loads(out.splitlines()[-1]))
    figures = [
        Figure("round trips a pass", found.round_trips, "", floor=1),
        Figure("CPU a pass, ours", found.ours * 1000, "ms"),
        Figure("CPU a pass, PostgreSQL", found.postgres * 1000, "ms"),
    ]
    about = (
        f"A pass over an unchanged account of {FOLDERS} folders and {MESSAGES} messages, on a warm session, {PASSES}"
        " times: every folder is compared with the server, and the request for it answered. Floor: one LIST-STATUS."
    )
    return Section("An unchanged account", about, figures)


class _Counter(socketserver.ThreadingTCPServer):
    """Passes everything on to a server, and counts the tagged answers that come back."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = port
        self.answers = 0


class _Passing(socketserver.BaseRequestHandler):
    server: _Counter

    def handle(self) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", self.server.upstream)) as upstream:
            back = threading.Thread(target=self._count, args=(upstream,), daemon=True)
            back.start()
            while data := self.request.recv(65536):
                upstream.sendall(data)

    def _count(self, upstream: object) -> None:
        tail = b""
        while data := upstream.recv(65536):  # type: ignore[attr-defined]
            *lines, tail = (tail + data).split(b"\r\n")
            self.server.answers += sum(bool(re.match(rb"[^*+ ]\S* (OK|NO|BAD)", line)) for line in lines)
            self.request.sendall(data)


def main() -> None:
    """Measure here."""
    import tests.stack  # noqa: F401 -- starts PostgreSQL and a broker, before the settings are read

    os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.servers.dovecot import Dovecot

    with Dovecot() as server, _Counter(server.port) as counter:
        threading.Thread(target=counter.serve_forever, daemon=True).start()
        account = _connect(server, counter.server_address[1])
        print(json.dumps(asdict(_measure(account, counter))))
        counter.shutdown()


def _connect(server: object, port: int) -> int:
    from accounts.models import Application
    from benchmarks.mailbox import Writer
    from sync.services.connecting import ConnectRequest, connect_account

    user = server.new_user()  # type: ignore[attr-defined]
    with server.connect(user) as mailbox:  # type: ignore[attr-defined]
        for number in range(FOLDERS - 6):
            mailbox.create(f"Folder {number}")
        for number, mail in enumerate(Writer().mails(MESSAGES)):
            mailbox.append("INBOX" if number % 2 else f"Folder {number % (FOLDERS - 6)}", mail.raw)
    request = ConnectRequest(
        provider="imap",
        email="unchanged@example.org",
        imap_username=user.username,
        imap_password=user.password,
        imap_host=user.host,
        imap_port=port,
        imap_security="none",
    )
    application = Application.objects.get_or_create(name="default")[0]
    return connect_account(application_id=application.pk, request=request)


def _measure(account: int, counter: _Counter) -> Unchanged:
    from sync.services.foreground import mirror_now

    # twice: the second pass proves to the first's cursors that nothing moved
    mirror_now(account)
    mirror_now(account)
    before, answers = cpu_by_group(os.getpid()), counter.answers
    for _ in range(PASSES):
        mirror_now(account)
    cpu = spent(before, cpu_by_group(os.getpid()))
    ours = sum(seconds for name, seconds in cpu.items() if name not in ("PostgreSQL", "broker"))
    return Unchanged((counter.answers - answers) / PASSES, ours / PASSES, cpu.get("PostgreSQL", 0.0) / PASSES)


if __name__ == "__main__":
    main()
