"""The Celery app: queues, how tasks are run, and what beat starts: a handful of entries, one a kind of work.

Redis may lose everything; it costs latency only. What is due stands in the database, and beat finds it.
"""

from __future__ import annotations

import os

from celery import Celery
from kombu import Queue

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

from django.conf import settings

#: Seconds until a task that a dead worker took is handed out again; recovery is the lease's, long before.
VISIBILITY_TIMEOUT = 3600
#: Seconds a call to the broker may take.
SOCKET_TIMEOUT = 10

app = Celery("mailmirror")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT,
        "socket_timeout": SOCKET_TIMEOUT,
        "socket_connect_timeout": SOCKET_TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
    },
    task_queues=[
        *(Queue(f"sync.{n}") for n in range(settings.SYNC_PARTITIONS)),
        *(Queue(f"backfill.{n}") for n in range(settings.SYNC_PARTITIONS)),
        Queue("maintenance"),
    ],
    task_default_queue="maintenance",
    task_create_missing_queues=False,
    task_acks_late=True,
    task_ignore_result=True,
    task_send_sent_event=True,
    task_publish_retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    accept_content=["json"],
    enable_utc=True,
    imports=["sync.tasks"],
    beat_schedule_filename=str(settings.DATA_DIR / "celerybeat-schedule"),
    beat_max_loop_interval=1,
    beat_schedule={
        # each expires before the next but one, so that nothing piles up while no worker runs
        "due accounts": {"task": "sync.tasks.schedule_due_accounts", "schedule": 1.0, "options": {"expires": 2}},
        "due folders": {"task": "sync.tasks.schedule_due_folders", "schedule": 5.0, "options": {"expires": 10}},
        "maintenance": {"task": "sync.tasks.maintain", "schedule": 60.0, "options": {"expires": 120}},
    },
)
