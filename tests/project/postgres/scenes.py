"""Scenes among greenlets, each played in a process of its own: `python -m tests.project.postgres.scenes NAME`.

A scene prints what it saw as one JSON object.
"""

# before anything else is imported, as the celery program does it
from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from contextlib import contextmanager, suppress  # noqa: E402
from typing import Any  # noqa: E402

import django  # noqa: E402
import gevent  # noqa: E402
import psycopg2  # noqa: E402

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from django.db import OperationalError, connection, connections, transaction  # noqa: E402

from project.postgres import pool_states, waiting  # noqa: E402
from tests.project.postgres.asking import ask, backend, wait_until  # noqa: E402

Seen = dict[str, Any]

#: Who we are in pg_stat_activity.
NAME = f"scene {os.getpid()}"
connections.databases["default"]["OPTIONS"]["application_name"] = NAME


class Outsider:
    """A connection beside the pool, which counts the pool's."""

    def __init__(self) -> None:
        self.raw: Any = psycopg2.connect(**{**connection.get_connection_params(), "application_name": "outsider"})
        self.raw.autocommit = True

    def ask(self, sql: str) -> Any:
        """Return the first value of the first row."""
        with self.raw.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0]

    def connections(self, state: str = "%") -> int:
        """Return how many connections of this scene the server has."""
        return int(
            self.ask(
                f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{NAME}' AND state LIKE '{state}'"
            )
        )


@contextmanager
def measured_hub(seen: Seen) -> Any:
    """Note the longest time in which no other greenlet could run, in seconds."""
    lags = [0.0]

    def tick() -> None:
        while True:
            before = time.monotonic()
            gevent.sleep(0.01)
            lags.append(time.monotonic() - before - 0.01)

    ticker = gevent.spawn(tick)
    yield
    ticker.kill()
    seen["lag"] = max(lags)


def state() -> tuple[int, int]:
    """Return how many connections are lent and idle."""
    pool = pool_states()["default"]
    return pool.lent, pool.idle


def bound(seen: Seen) -> None:
    """200 greenlets work and wait in turn."""
    outsider = Outsider()
    counts: list[int] = []
    done: list[int] = []

    def work(number: int) -> None:
        for _ in range(3):
            ask(connection, "SELECT pg_sleep(0.01)")
            with waiting():
                gevent.sleep(0.01)
        done.append(number)

    def count() -> None:
        while True:
            counts.append(outsider.connections())
            gevent.sleep(0.005)

    counter = gevent.spawn(count)
    with measured_hub(seen):
        gevent.joinall([gevent.spawn(work, number) for number in range(200)], raise_error=True)
    counter.kill()
    seen |= {"most": max(counts), "looks": len(counts), "done": len(done), "state": state()}


def hanging_servers(seen: Seen) -> None:
    """100 greenlets wait for mail servers that hang: the next one's query does not wait."""

    def hang() -> None:
        backend(connection)
        with waiting():
            gevent.sleep(60)

    hanging = [gevent.spawn(hang) for _ in range(100)]
    gevent.sleep(0.5)
    began = time.monotonic()
    backend(connection)
    seen |= {"seconds": time.monotonic() - began, "state": state()}
    gevent.killall(hanging)


def client_timeout(seen: Seen) -> None:
    """A greenlet gives a query up."""
    outsider = Outsider()
    pid = backend(connection)
    seen["raised"] = False
    try:
        with gevent.Timeout(0.1):
            ask(connection, "SELECT pg_sleep(60)")
    except gevent.Timeout:
        seen["raised"] = True
    connection.close()
    seen["state"] = state()
    seen["other"] = backend(connection) != pid
    # the server stops the query that nobody waits for
    seen["stopped"] = wait_until(lambda: outsider.connections("active") == 0, 5)
    connection.close()


def killed_in_transaction(seen: Seen) -> None:
    """A greenlet is killed while it holds a lock and waits for a query."""
    outsider = Outsider()
    outsider.ask("CREATE TABLE IF NOT EXISTS scene (n int); SELECT 1")

    def work() -> None:
        with transaction.atomic():
            ask(connection, "LOCK TABLE scene; SELECT pg_sleep(60)")

    victim = gevent.spawn(work)
    gevent.sleep(0.3)
    seen["lent"] = pool_states()["default"].lent
    victim.kill()
    outsider.ask("SET lock_timeout = '5s'; LOCK TABLE scene; DROP TABLE scene; SELECT 1")
    # it never gave its connection back; who needs the place finds it
    gevent.joinall([gevent.spawn(lambda: ask(connection, "SELECT pg_sleep(0.1)")) for _ in range(20)], raise_error=True)
    seen["most"] = outsider.connections()


def forgetful(seen: Seen) -> None:
    """Greenlets end without giving their connections back."""
    began = time.monotonic()
    for _ in range(5):
        gevent.joinall([gevent.spawn(lambda: backend(connection)) for _ in range(10)], raise_error=True)
    seen |= {"seconds": time.monotonic() - began, "lent": pool_states()["default"].lent}


def server_timeout(seen: Seen) -> None:
    """The server ends a statement that takes too long."""
    pid = backend(connection)
    try:
        ask(connection, "SET statement_timeout = '50ms'; SELECT pg_sleep(60)")
    except OperationalError as error:
        seen["error"] = str(error)
    connection.close()
    seen |= {"state": state(), "other": backend(connection) != pid}
    with transaction.atomic():
        with suppress(OperationalError), transaction.atomic():
            ask(connection, "SET LOCAL statement_timeout = '50ms'; SELECT pg_sleep(60)")
        seen["goes on after a savepoint"] = ask(connection, "SELECT 1")


def reading(seen: Seen) -> None:
    """Large results, server-side cursors and arrays."""
    with connection.chunked_cursor() as cursor:
        cursor.execute("SELECT generate_series(1, 2500)")
        seen["first"] = cursor.fetchmany(100)[0][0]
        seen["rest"] = len(cursor.fetchall())
    seen["bytes"] = len(ask(connection, "SELECT repeat('x', 20000000)"))
    seen["sum"] = ask(connection, "SELECT sum(n) FROM unnest(%s) AS n", list(range(50_000)))


def unreachable(seen: Seen) -> None:
    """A server that accepts and never answers."""
    from gevent.server import StreamServer

    silent = StreamServer(("127.0.0.1", 0), lambda socket, _: gevent.sleep(60))
    silent.start()
    from project.postgres import green

    green.CONNECT_SECONDS = 0.3
    other = connection.copy()
    other.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(silent.server_port)}
    with measured_hub(seen):
        try:
            backend(other)
        except OperationalError as error:
            seen["error"] = str(error)
    silent.stop()


SCENES: dict[str, Callable[[Seen], None]] = {
    scene.__name__: scene
    for scene in (
        *(bound, hanging_servers, client_timeout, killed_in_transaction, forgetful),
        *(server_timeout, reading, unreachable),
    )
}

if __name__ == "__main__":
    saw: Seen = {}
    SCENES[sys.argv[1]](saw)
    print(json.dumps(saw))
