"""The processes of the Procfile: which run on this machine, how many of each, with what environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

#: Of a platform that runs a Procfile: not a process, but what comes before all of them.
RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Process:
    """One process to run."""

    #: Of the Procfile, numbered where there are several: web, worker-sync-1.
    name: str
    #: A line for the shell.
    command: str
    #: Beside our own.
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def node(self) -> str | None:
        """The name under which a Celery worker answers; None: this is no worker."""
        return f"{self.name}@{socket.gethostname()}" if self.name.startswith("worker-") else None


def read_procfile(path: Path) -> dict[str, str]:
    """Return the commands of a Procfile by name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.partition(":") for line in lines if line.strip() and not line.startswith("#")]
    return {name.strip(): command.strip() for name, _, command in pairs}


def processes() -> list[Process]:
    """Return what `up` runs."""
    commands = read_procfile(settings.BASE_DIR / "Procfile")
    return [one for name, command in commands.items() if name != RELEASE for one in copies(name, command)]


def copies(name: str, command: str) -> Iterator[Process]:
    """Yield the processes that one line of the Procfile stands for: SYNC_PROCESSES sync workers, one of all else."""
    if name != "worker-sync":
        yield Process(name, command)
        return
    # a process without a partition would wait for nothing
    count = min(settings.SYNC_PROCESSES, settings.SYNC_PARTITIONS)
    for number in range(1, count + 1):
        mine = f"{name}-{number}"
        # its name stands on its command line, where `ps` shows it
        yield Process(mine, f"{command} {mine}", {"SYNC_SHARE": f"{number}/{count}"})


def environment() -> dict[str, str]:
    """Return what every process gets: ours, with our programs first and the places that commands need."""
    programs = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "project.settings"),
        "PYTHONUNBUFFERED": "1",
        # Django's checks import all of the API, in each worker: a second of a core; `manage.py check` runs them
        "CELERY_SKIP_CHECKS": "1",
    }
