"""What a worker does about the past: the leases of the process that it replaces, and queues that a broker lost."""

from __future__ import annotations

from typing import Any

import structlog
from celery import bootsteps, signals

from celery_config import app
from project.postgres import give_back
from project.postgres.away import patiently
from project.shards import on_shard, shards
from sync.services.leases import free_own_leases, hold_leases_as
from sync.services.schedule import forget_queued

log = structlog.get_logger(__name__)

#: Seconds that a worker waits for a database that is away before it starts without.
PATIENCE = 30.0


def observe_workers() -> None:
    """Have every worker of this process do what is below."""
    signals.worker_init.connect(_take_over, weak=False, dispatch_uid="sync.workers")
    app.steps["consumer"].add(QueuesMayBeLost)


def _take_over(sender: Any, **_signal: Any) -> None:
    """Free what a worker of this name held when it died: nobody need wait until these leases run out."""
    hold_leases_as(str(sender.hostname))
    freed = 0
    for shard in shards():
        with on_shard(shard=shard):
            freed += patiently(free_own_leases, seconds=PATIENCE)
    give_back()
    if freed:
        log.info("leases_freed", leases=freed)


class QueuesMayBeLost(bootsteps.StartStopStep):
    """Each time the maintenance worker reaches the broker, what was queued before counts as lost.

    The broker may have come back empty. What it kept is queued twice: the second of two tasks finds the work done.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def include_if(self, parent: Any) -> bool:
        """Whether this worker is the one."""
        return "maintenance" in parent.app.amqp.queues.consume_from

    def start(self, parent: Any) -> None:
        """Let beat find again what is due."""
        for shard in shards():
            with on_shard(shard=shard):
                patiently(forget_queued, seconds=PATIENCE)
        give_back()
