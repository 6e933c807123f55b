"""How gunicorn serves us: `gunicorn --config python:project.gunicorn project.wsgi`."""

from __future__ import annotations

import os

from project import settings

os.environ.setdefault("PROCESS_ROLE", "web")

bind = f"{f'[{settings.HOST}]' if ':' in settings.HOST else settings.HOST}:{settings.PORT}"
workers = settings.WEB_CONCURRENCY
worker_class = "gthread"
threads = 16
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
