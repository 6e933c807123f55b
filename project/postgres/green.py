"""psycopg2 among greenlets: while one waits for PostgreSQL, the others run.

libpq waits inside C, where gevent cannot switch. psycopg2 calls a function of ours instead, once one is set, whenever
it would block. In this mode COPY and large objects do not work (psycopg2 refuses them).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import gevent
import greenlet
import psycopg2
from gevent import monkey
from gevent.socket import wait_read, wait_write
from psycopg2 import extensions

#: Seconds that connecting may take; libpq does not apply its own connect_timeout when psycopg2 does not block.
CONNECT_SECONDS = 10.0


def is_green() -> bool:
    """Whether gevent's monkey-patch is active in this process, so that waiting must go through its hub."""
    return bool(monkey.is_module_patched("socket"))


def wait_in_hub(connection: extensions.connection) -> None:
    """Wait until libpq is done with `connection`, letting other greenlets run.

    Whatever is raised here, a timeout or the end of the greenlet, makes psycopg2 close the connection: the two sides
    would no longer agree on whose turn it is.
    """
    while True:
        state = connection.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            wait_read(connection.fileno())
        elif state == extensions.POLL_WRITE:
            wait_write(connection.fileno())
        else:
            raise psycopg2.OperationalError(f"unexpected state of the connection: {state}")


def open_connection(connect: Callable[[], Any]) -> Any:
    """Call `connect` so that it blocks nobody else; under gevent it fails after CONNECT_SECONDS."""
    if not is_green():
        return connect()
    if extensions.get_wait_callback() is None:
        extensions.set_wait_callback(wait_in_hub)
    limit = gevent.Timeout(CONNECT_SECONDS)
    with limit:
        try:
            return connect()
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
            raise psycopg2.OperationalError(f"no connection within {CONNECT_SECONDS:.0f} s") from None


def owner_lives() -> Callable[[], bool]:
    """Return a function that tells whether the greenlet (or, without gevent, the thread) that calls this still runs."""
    if is_green():
        current = weakref.ref(greenlet.getcurrent())
        return lambda: (owner := current()) is not None and not owner.dead
    thread = weakref.ref(threading.current_thread())
    return lambda: (owner := thread()) is not None and owner.is_alive()
