"""Become a Celery worker: `python -m project.worker sync` or `maintenance`.

Works out which queues it serves, then gives way to the `celery` program, which must patch for greenlets before anything
else is imported. SYNC_SHARE=1/3 is the first of three sync workers: the partitions are dealt out among them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from project import env, settings

#: Greenlets of the maintenance worker: its tasks are few, and enqueue more than they do.
MAINTENANCE_CONCURRENCY = 10


def share() -> tuple[int, int]:
    """Return which of how many sync workers this one is, from 1; (1, 1): the only one."""
    value = env.text("SYNC_SHARE", "1/1")
    number, separator, count = value.partition("/")
    if not (separator and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise env.refuse("SYNC_SHARE", value, "n/of, such as 1/3")
    return int(number), int(count)


def partitions(number: int, count: int, *, of: int) -> list[int]:
    """Return the partitions (from 0) that worker `number` of `count` serves."""
    return [partition for partition in range(of) if partition % count == number - 1]


def command(kind: str) -> list[str]:
    """Return the command line of a worker. Raises BadSetting, KeyError for a kind that there is not."""
    if kind == "sync":
        mine = partitions(*share(), of=settings.SYNC_PARTITIONS)
        queues = [f"{queue}.{partition}" for queue in ("sync", "backfill") for partition in mine]
        concurrency = settings.SYNC_CONCURRENCY
    else:
        queues, concurrency = {"maintenance": (["maintenance"], MAINTENANCE_CONCURRENCY)}[kind]
    name = env.text("WORKER_NAME", f"worker-{kind}")
    return [
        *("celery", "--app", "celery_config", "worker", "--pool", "gevent", "--concurrency", str(concurrency)),
        *("--queues", ",".join(queues), "--hostname", f"{name}@%h", "--loglevel", settings.LOG_LEVEL),
        *("--task-events", "--without-gossip", "--without-mingle"),
    ]


def main(arguments: Sequence[str]) -> None:
    """Become the worker that the first argument names."""
    os.environ.setdefault("PROCESS_ROLE", "worker")
    # said to everybody who runs as root; what it fears (pickled tasks) we do not accept
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser privileges")
    line = command(arguments[0])
    os.execv(Path(sys.executable).with_name("celery"), line)  # noqa: S606 -- our own command


if __name__ == "__main__":
    main(sys.argv[1:])
