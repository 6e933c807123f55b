"""Run manage.py in processes of its own, on a DATA_DIR of its own, and see what it leaves behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil

from project.data_dir import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
#: Seconds that a stack may take to become ready on a machine that does much else.
PATIENCE = 90.0


class Installation:
    """One DATA_DIR with its ports, and the processes that run on it."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port = free_port(set())
        ours = ("SHARD_", "DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DATA_DIR", "ALLOWED_PRIVATE", "DJANGO_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
            "DATA_DIR": str(data_dir),
            "PORT": str(self.port),
            "FLOWER_PORT": str(free_port({self.port})),
            "SYNC_PROCESSES": "1",
            "WEB_CONCURRENCY": "1",
            **settings,
        }
        self.ups: list[subprocess.Popen[str]] = []

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = [sys.executable, "manage.py", *arguments]
        environment = self.environment | settings
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def start(self, command: str = "up", *arguments: str) -> subprocess.Popen[str]:
        """Start a command that stays."""
        log = (self.data_dir.parent / "up.log").open("a")
        with log:
            up = subprocess.Popen(
                [sys.executable, "manage.py", command, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.ups.append(up)
        return up

    def up(self) -> subprocess.Popen[str]:
        """Start the stack and wait until it says that it is ready."""
        up = self.start()
        line = first_line(up.stdout, PATIENCE)
        assert line == f"ready http://127.0.0.1:{self.port}\n", self.log()
        return up

    def log(self) -> str:
        """Return what the stack wrote to its standard error."""
        return (self.data_dir.parent / "up.log").read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Return every process that works on this DATA_DIR, PostgreSQL's too."""
        homes = {str(self.data_dir), str((self.data_dir / "postgres").resolve())}
        return [process for process in psutil.process_iter() if works_on(process, homes)]

    def remove(self) -> None:
        """Kill what still runs and remove every file."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for up in self.ups:
            up.wait()
            if up.stdout:
                up.stdout.close()
        home = (self.data_dir / "postgres").resolve()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)


def works_on(process: psutil.Process, homes: set[str]) -> bool:
    """Whether a process has one of these directories in its environment, its command line or as its own."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
            return False
        if process.environ().get("DATA_DIR") in homes:
            return True
        places = [process.cwd(), *process.cmdline()]
        return any(place.startswith(home) for place in places for home in homes)
    return False


def first_line(stream: IO[str] | None, patience: float) -> str:
    """Return the first line that a process prints; empty when it ends before, or says nothing in time."""
    assert stream is not None
    with ringing(patience):
        return stream.readline()


@contextlib.contextmanager
def ringing(patience: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds."""

    def ring(_number: int, _frame: object) -> None:
        raise TimeoutError(f"nothing in {patience} s")

    before = signal.signal(signal.SIGALRM, ring)
    kept = signal.setitimer(signal.ITIMER_REAL, patience)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *kept)
        signal.signal(signal.SIGALRM, before)


def wait_until(holds: Callable[[], bool], patience: float = 20.0) -> bool:
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
