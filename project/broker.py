"""How Celery reaches its broker: kombu's ways, mended where a broker that comes and goes would stop a worker."""

from __future__ import annotations

from typing import Any

import structlog
from celery.app.amqp import AMQP
from django.conf import settings
from kombu import Connection
from kombu.transport import base, redis, virtual
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

#: What a broker that is down, starting or full answers with.
BROKER_FAULTS = (OSError, RedisError)
#: Seconds between two attempts to reach a broker that is down, at most; kombu's own go up to half a minute.
RECONNECT_SECONDS = 3
#: Seconds that a worker waits for a message at a time; Celery's own 1 and 2 s would add up when it stops.
WORKER_WAIT_SECONDS = 0.2


class ForgivingQoS(redis.QoS):
    """Counts a finished message as done even when the broker cannot be told.

    kombu (5.7) keeps such a message among those that a worker still works on. With late acknowledgement a busy worker
    then finds itself full for ever, never reads from the broker again, and so never notices that it must reconnect.
    The broker, if it still knows the message, hands it out again when its visibility timeout ends.
    """

    def ack(self, delivery_tag: str) -> None:
        """Tell the broker that a message is done."""
        try:
            super().ack(delivery_tag)
        except BROKER_FAULTS as error:
            self._count_as_done(delivery_tag, error)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Tell the broker that a message is not wanted."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except BROKER_FAULTS as error:
            self._count_as_done(delivery_tag, error)

    def _count_as_done(self, delivery_tag: str, error: Exception) -> None:
        virtual.QoS.ack(self, delivery_tag)
        log.warning("broker_not_told", delivery_tag=delivery_tag, error=str(error))


class Channel(redis.Channel):
    """A channel of the Redis transport."""

    QoS = ForgivingQoS


class Transport(redis.Transport):
    """The Redis transport."""

    Channel = Channel

    def drain_events(self, connection: Any, timeout: float | None = None, **kwargs: Any) -> None:
        """Wait for a message; a worker looks between two waits whether it was told to stop, so its waits are short."""
        if settings.PROCESS_ROLE == "worker":
            timeout = WORKER_WAIT_SECONDS if timeout is None else min(timeout, WORKER_WAIT_SECONDS)
        super().drain_events(connection, timeout=timeout, **kwargs)


class PatientConnection(Connection):
    """A connection that asks for a lost broker every few seconds, for as long as it is told to."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect, trying again and again as the arguments say."""
        return super().ensure_connection(*args, **{"interval_start": 1, "interval_max": RECONNECT_SECONDS} | kwargs)

    def get_transport_cls(self) -> type[base.Transport]:
        """Return our transport for Redis, kombu's for anything else."""
        found = super().get_transport_cls()
        return Transport if found is redis.Transport else found


class PatientAMQP(AMQP):
    """What the Celery app makes its connections with."""

    Connection = PatientConnection
