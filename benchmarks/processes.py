"""CPU time and memory of a tree of processes, read from /proc, in groups that a reader knows."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
#: What a command line holds -> the group; the first that fits.
GROUPS = (
    ("postgres", "PostgreSQL"),
    ("valkey", "broker"),
    ("gunicorn", "web"),
    ("worker-sync", "sync workers"),
    ("worker", "other workers"),
    ("beat", "beat"),
    ("flower", "Flower"),
)
OTHERS = "supervisor"


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment. `cpu`: seconds, user and system, with those of children that ended."""

    pid: int
    parent: int
    command: str
    cpu: float

    @property
    def group(self) -> str:
        """The group it counts for."""
        return next((name for word, name in GROUPS if word in self.command), OTHERS)


def tree(root: int) -> Iterator[Process]:
    """Yield the process `root` and everything it started that is still there."""
    every = {one.pid: one for one in map(_read, _pids()) if one is not None}
    children = defaultdict(list)
    for one in every.values():
        children[one.parent].append(one)
    waiting = [every[root]] if root in every else []
    while waiting:
        one = waiting.pop()
        yield one
        waiting += children[one.pid]


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid, int(stat[1]), command, sum(map(int, stat[11:15])) / TICK)


def cpu_by_group(root: int) -> dict[str, float]:
    """Return the CPU seconds of each group below `root` since its processes began."""
    found: dict[str, float] = defaultdict(float)
    for one in tree(root):
        found[one.group] += one.cpu
    return dict(found)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return what each group spent between two readings."""
    return {name: round(after[name] - before.get(name, 0.0), 3) for name in sorted(after)}


@dataclass
class MemoryPeak:
    """The highest memory of each group, in bytes, of all looks at it: shared pages are divided among their users."""

    root: int
    peak: dict[str, int] = field(default_factory=dict)

    def look(self) -> None:
        """Read once."""
        now: dict[str, int] = defaultdict(int)
        for one in tree(self.root):
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                now[one.group] += _proportional(one.pid)
        for name, size in now.items():
            self.peak[name] = max(size, self.peak.get(name, 0))


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
