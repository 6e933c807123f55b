"""Run processes until told to stop: start, restart what dies, end in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from project.children import Identity, Record, end_all, signal_session, spawn
from project.procfile import Process

#: Seconds that processes get to finish what they do, before they are killed; their work is resumed by lease.
STOP_GRACE = 20.0
#: Seconds until a process that died is started again: at once, then longer while it keeps dying young.
RESTART_DELAYS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Seconds after which a process that dies did not die young.
SETTLED = 30.0


@dataclass
class Running:
    """One process under supervision."""

    process: Process
    child: subprocess.Popen[bytes] | None = None
    identity: Identity | None = None
    started_at: float = 0.0
    #: How often in a row it died young.
    deaths: int = 0
    #: When to start it again, while it does not run.
    due_at: float = 0.0


@dataclass
class Supervisor:
    """The processes of one stack."""

    processes: Sequence[Process]
    environment: dict[str, str]
    directory: Path
    record: Record
    #: None: our own standard error.
    logs: Path | None = None
    running: list[Running] = field(default_factory=list)

    def start(self) -> None:
        """Start every process."""
        self.running = [Running(process) for process in self.processes]
        for one in self.running:
            self.launch(one)

    def launch(self, one: Running) -> None:
        """Start a process, or start it again."""
        command = ["/bin/sh", "-c", f"exec {one.process.command}"]
        with self.output(one.process.name) as output:
            one.child = spawn(
                command,
                output=output.fileno(),
                environment=self.environment | one.process.environment,
                directory=self.directory,
            )
        one.started_at = time.monotonic()
        one.identity = self.record.add(one.process.name, one.child.pid)

    def output(self, name: str) -> BinaryIO:
        """Return where a process writes."""
        if self.logs is None:
            return open(sys.stderr.fileno(), "wb", closefd=False)
        self.logs.mkdir(parents=True, exist_ok=True)
        return (self.logs / f"{name}.log").open("ab")

    def revive(self, say: Callable[[str], object]) -> None:
        """Start again what has died, each time telling of it."""
        now = time.monotonic()
        for one in self.running:
            if one.child is not None and (status := one.child.poll()) is not None:
                self.bury(one, now)
                say(f"{one.process.name} ended with status {status}; again in {one.due_at - now:.0f} s")
            if one.child is None and now >= one.due_at:
                self.launch(one)

    def bury(self, one: Running, now: float) -> None:
        """Note a death: what is left of the process ends, and its next start is set."""
        if one.identity is not None:
            signal_session(one.identity, signal.SIGKILL)
        one.deaths = 0 if now - one.started_at > SETTLED else one.deaths + 1
        one.due_at = now + RESTART_DELAYS[min(max(one.deaths - 1, 0), len(RESTART_DELAYS) - 1)]
        one.child = one.identity = None

    def stop(self, *, hurry: Callable[[], bool]) -> list[str]:
        """End every process, the beat first; return the names of those that had to be killed.

        `hurry` is asked while we wait: True kills what is left at once.
        """
        alive = [one for one in self.running if one.child is not None and one.child.poll() is None]
        # nothing new is handed out while the workers finish
        for one in sorted(alive, key=lambda one: one.process.name != "beat"):
            assert one.child is not None
            one.child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE
        while alive and time.monotonic() < deadline and not hurry():
            time.sleep(0.05)
            alive = [one for one in alive if one.child is not None and one.child.poll() is None]
        killed = [one.process.name for one in alive]
        end_all([one.identity for one in self.running if one.identity is not None], grace=0, number=signal.SIGKILL)
        for one in self.running:
            if one.child is not None:
                one.child.wait()
        return killed
