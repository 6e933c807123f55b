"""The Celery app: its settings, its queues, and what beat asks for.

Queues: `sync.<n>` news of accounts, `backfill.<n>` first mirrors (n < SYNC_PARTITIONS), `maintenance` whatever looks
for due work. The broker may lose everything: every task is found again from the database.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from django.conf import settings

from project.broker import PatientAMQP
from project.telemetry.worker import observe_workers

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

#: Seconds after which the broker hands out again what a worker took and never finished. Recovery does not wait for it:
#: leases run out after a minute. A task that runs longer than this would run twice.
VISIBILITY_SECONDS = 3600
#: Seconds that the broker may take to connect or to answer.
BROKER_SECONDS = 5
#: Seconds after which a round of beat's that no worker has taken is dropped: the next one finds the same work.
#: Far above the period of most, so that clocks of two hosts may differ.
EXPIRES_SECONDS = 30


def transport_options(url: str) -> dict[str, Any]:
    """Return what the transport of a broker is told; brokers other than Redis keep their own defaults."""
    if urlsplit(url).scheme not in ("redis", "rediss"):
        return {}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "socket_timeout": BROKER_SECONDS,
        "socket_connect_timeout": BROKER_SECONDS,
        "socket_keepalive": True,
        # each greenlet that ends a task tells the broker so on a connection of its own
        "max_connections": settings.SYNC_CONCURRENCY + 50,
        # queues are asked in the order in which a worker names them: news before first mirrors
        "queue_order_strategy": "priority",
    }


def round_of(task: str, *, every: float) -> dict[str, Any]:
    """Return an entry of beat's: `task` each `every` seconds."""
    expires = max(EXPIRES_SECONDS, every)
    return {"task": task, "schedule": every, "options": {"queue": "maintenance", "expires": expires}}


app = Celery("mailmirror", amqp=PatientAMQP)
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_transport_options=transport_options(settings.CELERY_BROKER_URL),
    broker_connection_retry_on_startup=True,
    # None: for ever
    broker_connection_max_retries=None,
    broker_connection_timeout=BROKER_SECONDS,
    # who enqueues does not wait for a broker that is down: beat finds the work in the database
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2},
    result_backend=None,
    task_ignore_result=True,
    # what a worker had when it died is done again: every task is idempotent
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    worker_enable_prefetch_count_reduction=False,
    worker_prefetch_multiplier=1,
    task_default_queue="maintenance",
    # Flower shows tasks by their events
    worker_send_task_events=True,
    task_send_sent_event=True,
    task_serializer="json",
    accept_content=["json"],
    enable_utc=True,
    timezone="UTC",
    # no file: the rounds are short, and a killed beat would leave a broken one
    beat_scheduler="celery.beat:Scheduler",
    beat_schedule={
        "accounts": round_of("sync.tasks.schedule_due_accounts", every=1),
        "folders": round_of("sync.tasks.schedule_due_folders", every=5),
        "maintenance": round_of("sync.tasks.maintain", every=60),
        "answers": round_of("api.tasks.forget_answers", every=60),
    },
)
app.autodiscover_tasks()
observe_workers()
