"""A first mirror through Celery, from connecting to the last message in the API, beside a bare client's streaming."""

from __future__ import annotations

import imaplib
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import Figure, Section, table
from benchmarks.floor import Streamed, stream_everything
from benchmarks.mailbox import FOLDERS, Writer
from benchmarks.processes import MemoryPeak, cpu_by_group, spent
from benchmarks.stack import RunningStack, settings_of
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import MailUser, mailbox_name

#: Seconds between two looks at the progress: each costs our own web process some CPU.
LOOK = 0.25
#: Seconds after which a first mirror is given up.
PATIENCE = 600.0
#: Groups that bring mail in; the others only run beside them.
WORK = ("sync workers", "other workers", "PostgreSQL", "broker", "web", "beat", "Flower", "supervisor")


@dataclass(frozen=True, slots=True)
class Filled:
    """A mailbox on the server."""

    user: MailUser
    messages: int
    octets: int


@dataclass(frozen=True, slots=True)
class Mirrored:
    """How a first mirror went. Times in seconds from the request to connect; `cpu` and `memory` by group."""

    grant: str
    first: float
    complete: float
    cpu: dict[str, float]
    memory: dict[str, int]


def fill(server: Dovecot, count: int) -> Filled:
    """Put the mailbox of `benchmarks.mailbox` on the server."""
    user = server.new_user()
    client = imaplib.IMAP4(user.host, user.port)
    client.login(user.username, user.password)
    for folder in FOLDERS:
        client.create(mailbox_name(folder))
    octets = 0
    for mail in Writer().mails(count):
        date = imaplib.Time2Internaldate(mail.date)
        kind, answer = client.append(mailbox_name(mail.folder), " ".join(mail.flags), date, mail.raw)
        if kind != "OK":
            raise imaplib.IMAP4.error(str(answer))
        octets += len(mail.raw)
    client.logout()
    return Filled(user, count, octets)


def mirror(stack: RunningStack, filled: Filled) -> Mirrored:
    """Connect the mailbox over the API and wait until all of it is there."""
    peak = MemoryPeak(stack.pid)
    before = cpu_by_group(stack.pid)
    began = time.perf_counter()
    grant = stack.api.connect(settings_of(filled.user))
    first = 0.0
    looked = 0.0
    while True:
        now = time.perf_counter() - began
        if now > PATIENCE:
            raise TimeoutError(f"not mirrored after {PATIENCE} s: {stack.api.sync_state(grant)}")
        if not first:
            first = now if _any_message(stack, grant) else 0.0
            time.sleep(LOOK / 5)
            continue
        state = stack.api.sync_state(grant)
        if state["completed"] and state["messages_mirrored"] >= filled.messages:
            break
        if now - looked > 1:
            peak.look()
            looked = now
        time.sleep(LOOK)
    complete = time.perf_counter() - began
    return Mirrored(grant, first, complete, spent(before, cpu_by_group(stack.pid)), peak.peak)


def _any_message(stack: RunningStack, grant: str) -> bool:
    return bool(stack.api.ask("GET", f"/v3/grants/{grant}/messages", limit=1)["data"])


def bytes_on_disk(stack: RunningStack) -> int:
    """Return the size of the database, after what is due anyway was done to it."""
    with stack.database() as database:
        database.execute("VACUUM")
        database.execute("CHECKPOINT")
        database.execute("SELECT pg_database_size(current_database())")
        return int(database.fetchone()[0])  # type: ignore[index]


def report(stack: RunningStack, filled: Filled) -> tuple[Section, Mirrored]:
    """Measure both sides and tell."""
    # once unmeasured: both sides then read from the same warm cache of the mail server
    stream_everything(filled.user)
    floor = stream_everything(filled.user)
    mirrored = mirror(stack, filled)
    disk = bytes_on_disk(stack)
    return _section(filled, floor, mirrored, disk), mirrored


def _section(filled: Filled, floor: Streamed, mirrored: Mirrored, disk: int) -> Section:
    count = filled.messages
    cpu = sum(mirrored.cpu.values())
    memory = sum(mirrored.memory.values())
    figures = [
        Figure("messages a second", count / mirrored.complete, "/s", count / floor.seconds, at_least=400),
        Figure("CPU a message", cpu / count * 1000, "ms", floor.cpu / count * 1000, at_most=3),
        Figure("first messages in the API after connecting", mirrored.first, "s", at_most=2),
        Figure("bytes on disk a byte of mail", disk / filled.octets, "", at_most=0.8),
        Figure("whole first mirror", mirrored.complete, "s", floor.seconds),
        Figure("peak memory, all processes", memory / 1e6, "MB"),
    ]
    rows: list[tuple[Any, ...]] = [
        (name, f"{seconds:.2f}", f"{seconds / count * 1000:.3f}", f"{mirrored.memory.get(name, 0) / 1e6:.0f}")
        for name, seconds in sorted(mirrored.cpu.items(), key=lambda item: -item[1])
    ]
    split = table(("processes", "CPU s", "CPU ms a message", "peak memory MB"), rows)
    about = (
        f"{count:,} messages, {filled.octets / 1e6:.1f} MB, in {len(FOLDERS)} folders of a local Dovecot. Floor: one"
        " connection over which every raw message is streamed and dropped; its CPU is the client's alone. Mailmirror:"
        " all its processes, PostgreSQL and broker included; the mail server counts on neither side. Disk: the whole"
        " database after VACUUM and CHECKPOINT, without WAL. Shared pages of memory are divided among their users."
    )
    return Section("First mirror", about, figures, [split])
