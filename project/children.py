"""Child processes that do not outlive us, and how one that did is found again.

The kernel tells a child when the thread that started it dies (prctl(2), PR_SET_PDEATHSIG): so start children from the
main thread. What that misses (a child that changed its user, a kernel without it) is found by pid and start time in
the record that the next start reads: a pid alone may belong to a stranger by then.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from project.data_dir import write_whole

PR_SET_PDEATHSIG = 1
#: Seconds that a leftover may take to end by itself before it is killed.
LEFTOVER_GRACE = 8.0

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for ever: a pid comes back, but not with this start time in this boot of the machine."""

    name: str
    pid: int
    #: Clock ticks after boot, field 22 of /proc/<pid>/stat.
    started: int
    boot: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that a child runs as when we are root."""

    uid: int
    gid: int


def as_owner(owner: Owner | None) -> dict[str, Any]:
    """Return what tells `subprocess` to run as this user; None: as we do."""
    return {} if owner is None else {"user": owner.uid, "group": owner.gid, "extra_groups": []}


def boot_id() -> str:
    """Return what names this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/<pid>/stat from the third (state) on; None: no such process, or a dead one."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # the name in brackets may itself hold brackets and spaces
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields


def identity(name: str, pid: int) -> Identity | None:
    """Return who has a pid now; None: nobody."""
    fields = stat_fields(pid)
    return None if fields is None else Identity(name, pid, int(fields[19]), boot_id())


def is_alive(child: Identity) -> bool:
    """Whether that very process, not another one with its pid, runs."""
    return identity(child.name, child.pid) == child


def tethered(death_signal: int) -> Callable[[], None]:
    """Return what a child runs before its program: the kernel will send it `death_signal` when we die."""
    parent = os.getpid()

    def tether() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            # we died before the line above
            os._exit(1)

    return tether


def spawn(
    command: Sequence[str],
    *,
    output: int,
    death_signal: int = signal.SIGTERM,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    owner: Owner | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, so that Ctrl-C reaches us alone; `output` is a file descriptor.

    Raises OSError when the program cannot be started.
    """
    return subprocess.Popen(  # noqa: S603 -- our own commands
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=directory,
        start_new_session=True,
        # runs after the change of user, which would undo it
        preexec_fn=tethered(death_signal),
        **as_owner(owner),
    )


def members(leader: Identity) -> list[int]:
    """Return the pids of the session that a child was started in, also when it has died itself and left others."""
    if leader.boot != boot_id():
        return []
    now = identity(leader.name, leader.pid)
    if now is not None and now != leader:
        # a pid is not given away while a session of that number lives: this is a stranger's
        return []
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = [(pid, fields) for pid in pids if (fields := stat_fields(pid)) is not None]
    return [pid for pid, fields in found if int(fields[3]) == leader.pid and int(fields[19]) >= leader.started]


def signal_session(leader: Identity, number: int) -> int:
    """Send a signal to every process of a child's session; return to how many."""
    pids = members(leader)
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(pids)


class Record:
    """The file of the children that were started: what the next start must find ended, or end.

    Written by the owner of the DATA_DIR alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, name: str, pid: int) -> Identity | None:
        """Remember a child, and forget those that have gone; None: it has died already."""
        child = identity(name, pid)
        if child is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # a leader that lives is found without reading all of /proc
            remembered = [*(one for one in self.children() if is_alive(one) or members(one)), child]
            write_whole(self.path, "".join(json.dumps(asdict(one)) + "\n" for one in remembered))
        return child

    def children(self) -> list[Identity]:
        """Return everything remembered; a line that is not ours is left out."""
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found: list[Identity] = []
        for line in lines:
            with suppress(ValueError, TypeError):
                found.append(Identity(**json.loads(line)))
        return found

    def end_leftovers(self) -> list[str]:
        """Stop what an earlier run left behind, and forget it; return the names of what was still there."""
        left = [child for child in self.children() if members(child)]
        end_all(left, grace=LEFTOVER_GRACE)
        self.forget()
        return [child.name for child in left]

    def forget(self) -> None:
        """Forget every child: all have ended."""
        self.path.unlink(missing_ok=True)


def end_all(children: Iterable[Identity], *, grace: float, number: int = signal.SIGTERM) -> list[str]:
    """Stop the sessions of these children; return the names of those that had to be killed after `grace` seconds."""
    waiting = [child for child in children if signal_session(child, number)]
    deadline = time.monotonic() + grace
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        waiting = [child for child in waiting if members(child)]
    for child in waiting:
        signal_session(child, signal.SIGKILL)
    return [child.name for child in waiting]
