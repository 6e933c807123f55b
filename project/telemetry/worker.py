"""What a Celery worker tells of itself: logs with their account, counts of tasks, a watchdog and a sampler.

`observe_workers()` connects all of it to Celery's signals; it does nothing in other processes.
"""

from __future__ import annotations

import time
from typing import Any

import structlog
from celery import signals
from django.conf import settings

from project.postgres import give_back
from project.postgres.green import is_green
from project.telemetry.logs import configure_logging

log = structlog.get_logger(__name__)

#: Arguments of a task that stand on every line of its log.
BOUND = ("account_id", "folder_id")
_began: dict[str, float] = {}


def observe_workers() -> None:
    """Connect everything below to Celery's signals."""
    signals.setup_logging.connect(_set_up_logging, weak=False)
    signals.worker_ready.connect(_start_instruments, weak=False)
    signals.task_prerun.connect(_begin_task, weak=False)
    signals.task_postrun.connect(_end_task, weak=False)


def _set_up_logging(**_signal: Any) -> None:
    configure_logging(settings.LOG_FORMAT, settings.LOG_LEVEL)


def _start_instruments(sender: Any, **_signal: Any) -> None:
    from project.telemetry.metrics import serve_own_metrics
    from project.telemetry.sampler import Sampler
    from project.telemetry.watchdog import Watchdog

    name = str(sender.hostname).partition("@")[0]
    Sampler(settings.DATA_DIR / "profiles", name).listen()
    if is_green():
        Watchdog().start()
    if settings.METRICS_PORT is not None:
        log.info("metrics_served", port=serve_own_metrics(settings.METRICS_PORT, settings.HOST))


def _begin_task(task_id: str, task: Any, kwargs: dict[str, Any] | None = None, **_signal: Any) -> None:
    given = kwargs or {}
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, **{name: given[name] for name in BOUND if name in given})
    _began[task_id] = time.monotonic()


def _end_task(task_id: str, task: Any, state: str | None = None, **_signal: Any) -> None:
    from project.telemetry.metrics import TASK_SECONDS, TASKS

    began = _began.pop(task_id, None)
    TASKS.labels(task.name, (state or "unknown").lower()).inc()
    if began is not None:
        TASK_SECONDS.labels(task.name).observe(time.monotonic() - began)
    structlog.contextvars.clear_contextvars()
    if not task.request.is_eager:
        give_back()
