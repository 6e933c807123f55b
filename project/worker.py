"""Be a Celery worker: `python -m project.worker sync [NAME]`, or `maintenance`.

Works out which queues it serves. SYNC_SHARE=1/3 is the first of three sync workers: the partitions are dealt out among
them. NAME is what it answers to; several on one host need different ones.

Not by the `celery` program, which reads Flower and a shell of its own first: a worker starts in two thirds of the time.
"""

from __future__ import annotations

if __name__ == "__main__":
    # before all else: what is imported earlier would keep the functions that block every greenlet
    from gevent import monkey

    monkey.patch_all()

import os
import socket
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from project import env

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


def queues(kind: str) -> list[str]:
    """Return the queues that a worker serves. Raises BadSetting, KeyError for a kind that there is not."""
    if kind == "sync":
        mine = partitions(*share(), of=settings.SYNC_PARTITIONS)
        return [f"{queue}.{partition}" for queue in ("sync", "backfill") for partition in mine]
    return {"maintenance": ["maintenance"]}[kind]


def options(kind: str, name: str) -> dict[str, Any]:
    """Return what Celery is told of a worker."""
    return {
        "pool_cls": "gevent",
        "concurrency": settings.SYNC_CONCURRENCY if kind == "sync" else MAINTENANCE_CONCURRENCY,
        "queues": queues(kind),
        "hostname": f"{name}@{socket.gethostname()}",
        "loglevel": settings.LOG_LEVEL,
        "task_events": True,
        "without_gossip": True,
        "without_mingle": True,
    }


def main(arguments: Sequence[str]) -> int:
    """Be the worker that the arguments name, until told to stop; return the exit status."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    os.environ.setdefault("PROCESS_ROLE", "worker")
    kind = arguments[0]
    name = arguments[1] if len(arguments) > 1 else f"worker-{kind}"
    given = options(kind, name)
    # said to everybody who runs as root; what it fears (pickled tasks) we do not accept
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    from celery_config import app

    # SIGHUP starts the worker anew, with these words
    sys.argv = ["-m", "project.worker", *arguments]
    worker = app.Worker(**given)
    worker.start()
    return worker.exitcode or 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except env.BadSetting as error:
        sys.exit(str(error))
