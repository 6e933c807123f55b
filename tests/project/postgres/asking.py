"""Questions to PostgreSQL that the tests of the pool ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper


def ask(connection: BaseDatabaseWrapper, sql: str, *parameters: Any) -> Any:
    """Return the first value of the first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
        return None if row is None else row[0]


def backend(connection: BaseDatabaseWrapper) -> int:
    """Return the pid of the server process behind a connection."""
    return int(ask(connection, "SELECT pg_backend_pid()"))


def wait_until(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Ask until the answer is yes; False: it was no for so long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def in_thread(work: Callable[[], object]) -> None:
    """Run `work` in a thread to its end, raising here what it raises."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def lost_connection() -> DatabaseError:
    """Return what is raised when the server ends a session."""

    def be_ended() -> None:
        try:
            ask(connections["default"], "SELECT pg_terminate_backend(pg_backend_pid())")
        finally:
            connections["default"].close()

    try:
        in_thread(be_ended)
    except DatabaseError as error:
        return error
    raise AssertionError("the session goes on")
