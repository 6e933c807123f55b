"""How gunicorn serves us: `gunicorn --config python:project.gunicorn project.wsgi`."""

from __future__ import annotations

import os
from typing import Any

from project import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
os.environ.setdefault("PROCESS_ROLE", "web")

bind = f"{f'[{settings.HOST}]' if ':' in settings.HOST else settings.HOST}:{settings.PORT}"
workers = settings.WEB_CONCURRENCY
worker_class = "gthread"
threads = 16
# read once, shared by all: starting costs a second of a core only once
preload_app = True
# clients that keep connections alive reuse one within this many seconds; a proxy should close its own earlier
keepalive = 75
graceful_timeout = 15
# a request is limited by the database's statement timeout and by what it may send, not by killing its worker
timeout = 120
# a busy disk must not make a worker look hung
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
control_socket_disable = True
loglevel = settings.LOG_LEVEL
proc_name = "mailmirror"


def child_exit(_server: object, worker: Any) -> None:
    """Drop the gauges of a web process that ended."""
    # imported late: it needs Django's settings, and gunicorn reads this file first
    from project.telemetry.metrics import forget_process

    forget_process(worker.pid)
