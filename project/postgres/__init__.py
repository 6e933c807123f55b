"""Our database backend: psycopg2 with a bounded pool that greenlets and threads share.

A greenlet or thread holds a connection only while it runs SQL: `give_back` before every wait for a network.
"""

from __future__ import annotations

from django.db import connections


def give_back() -> None:
    """Put the connections of this greenlet or thread back into the pool, before it waits for a network.

    The next query takes one again. Raises RuntimeError inside a transaction: no network wait belongs there.
    """
    for connection in connections.all(initialized_only=True):
        if connection.connection is None:
            continue
        if connection.in_atomic_block:
            raise RuntimeError(f"waiting for a network inside a transaction on {connection.alias}")
        connection.close()
