"""What is embedded: PostgreSQL and Valkey from wheels, in DATA_DIR, each only when no outside URL replaces it.

Knows nothing of Django: it runs before the settings are read, which name the ports chosen here.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from project import embedded_postgres, embedded_valkey
from project.children import Record
from project.data_dir import can_listen, choose_port_anew, kept_port
from project.embedded_postgres import EmbeddedFault, PostgresServer
from project.embedded_valkey import ValkeyServer
from project.env import secret

__all__ = ["EmbeddedFault", "EmbeddedServers", "embedded_names"]


#: Seconds until a server that died and does not start is tried again.
RETRY_SECONDS = 2.0


class Server(Protocol):
    """One embedded server."""

    name: str
    child: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Start it and wait until it answers; raises EmbeddedFault."""

    def stop(self) -> None:
        """Stop it in order."""


def embedded_names() -> list[str]:
    """Return which servers no outside URL replaces."""
    replaced_by = {embedded_postgres.NAME: "DATABASE_URL", embedded_valkey.NAME: "REDIS_URL"}
    return [name for name, variable in replaced_by.items() if secret(variable) is None]


def record_of(data_dir: Path) -> Record:
    """Return the record of the processes started for a DATA_DIR."""
    return Record(data_dir / "lock" / "processes")


@dataclass
class EmbeddedServers:
    """The embedded servers of one DATA_DIR. Whoever starts them holds its lock (`project.occupancy`)."""

    data_dir: Path
    names: Iterable[str] = field(default_factory=embedded_names)
    #: Data need not survive a crash of the machine (tests).
    unsafe: bool = False
    started: list[Server] = field(default_factory=list)
    #: time.monotonic() before which nothing is started again.
    not_before: float = 0.0

    def settle_ports(self) -> bool:
        """Choose another port where a stranger took ours meanwhile; return whether one changed.

        Leftovers of an earlier run must have ended: they would pass for strangers.
        """
        taken = [name for name in self.names if not can_listen(kept_port(self.data_dir, name))]
        for name in taken:
            choose_port_anew(self.data_dir, name)
        return bool(taken)

    def start(self) -> None:
        """Start what is embedded; stops again what has started when another does not. Raises EmbeddedFault."""
        record = record_of(self.data_dir)
        made: dict[str, Server] = {
            embedded_postgres.NAME: PostgresServer(self.data_dir, record, unsafe=self.unsafe),
            embedded_valkey.NAME: ValkeyServer(self.data_dir, record),
        }
        try:
            for name in self.names:
                self.started.append(made[name])
                made[name].start()
        except BaseException:
            self.stop()
            raise

    def revive(self, say: Callable[[str], object]) -> None:
        """Start again what has died, telling of it; what does not start is tried again later.

        From the main thread, which the servers must not outlive.
        """
        for server in self.started:
            status = server.child and server.child.poll()
            if (server.child is None or status is not None) and time.monotonic() >= self.not_before:
                say(f"{server.name} ended with status {status}; starting it again")
                try:
                    server.start()
                except EmbeddedFault as error:
                    say(str(error))
                    self.not_before = time.monotonic() + RETRY_SECONDS

    def stop(self) -> None:
        """Stop what was started, the last first."""
        while self.started:
            self.started.pop().stop()
