"""Who uses a DATA_DIR: one owner, which runs the embedded servers, and guests, which use them meanwhile.

Locks of the kernel (flock), so that whoever holds one and dies holds nothing any more: there is no stale lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from project.data_dir import write_whole
from project.env import refuse

#: Seconds that a guest waits for an owner that is just starting.
START_PATIENCE = 150.0


class Occupied(Exception):
    """Another process owns the DATA_DIR; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs the embedded servers of a DATA_DIR."""

    pid: int
    #: "up", "demo", or the command that started them for its own duration.
    command: str
    #: Whether the servers answer and the migrations are applied.
    serving: bool = False

    @property
    def stays(self) -> bool:
        """Whether it runs until told to stop, and does the work of the Procfile."""
        return self.command in ("up", "demo")


class Occupancy:
    """The locks of one DATA_DIR."""

    def __init__(self, data_dir: Path, command: str) -> None:
        self.directory = data_dir / "lock"
        self.command = command

    @contextmanager
    def own(self) -> Iterator[None]:
        """Be the owner; raises Occupied, naming who is, when there is one."""
        file = self.lock("owner", fcntl.LOCK_EX)
        if file is None:
            raise Occupied(self.refusal())
        with file:
            self.announce(serving=False)
            try:
                yield
            finally:
                (self.directory / "owner.json").unlink(missing_ok=True)

    def announce(self, *, serving: bool) -> None:
        """Tell guests who we are, and whether they can begin."""
        write_whole(self.directory / "owner.json", json.dumps(asdict(Owner(os.getpid(), self.command, serving))))

    def owner(self) -> Owner | None:
        """Return what the owner announced; meaningless when nobody holds the lock."""
        try:
            return Owner(**json.loads((self.directory / "owner.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def running(self) -> Owner | None:
        """Return the `up` that serves this DATA_DIR now; None: none does."""
        file = self.lock("owner", fcntl.LOCK_EX)
        if file is not None:
            file.close()
            return None
        owner = self.owner()
        return owner if owner is not None and owner.stays and owner.serving else None

    @contextmanager
    def own_or_visit(self) -> Iterator[bool]:
        """Be the owner when there is none (True), else a guest of an owner whose servers answer (False)."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            file = self.lock("owner", fcntl.LOCK_EX)
            if file is not None:
                file.close()
                try:
                    with self.own():
                        yield True
                    return
                except Occupied:
                    # somebody was faster
                    continue
            guest = self.visit()
            if guest is not None:
                with guest:
                    yield False
                return
            if time.monotonic() > deadline:
                raise Occupied(self.refusal())
            time.sleep(0.05)

    def visit(self) -> TextIO | None:
        """Return what a guest holds while it is one; None: there is no owner, or not yet one that serves."""
        file = self.lock("guests", fcntl.LOCK_SH)
        owner = self.owner()
        if file is not None and owner is not None and owner.serving:
            return file
        if file is not None:
            file.close()
        return None

    @contextmanager
    def guests_gone(self) -> Iterator[None]:
        """Wait until no guest is left, and let none in."""
        with (self.directory / "guests").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def lock(self, name: str, kind: int) -> TextIO | None:
        """Take a lock without waiting; None: it is held otherwise. It is held until the file is closed."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = (self.directory / name).open("a")
        except OSError as error:
            raise refuse(
                "DATA_DIR", str(self.directory.parent), f"a directory that we can write to ({error})"
            ) from None
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file

    def refusal(self) -> str:
        """Return the line that says who owns the directory."""
        owner = self.owner()
        who = "another process" if owner is None else f"manage.py {owner.command} (pid {owner.pid})"
        return f"{self.directory.parent} is in use: {who} runs on it"
