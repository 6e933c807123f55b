"""Letting go of the connection before a wait: a greenlet holds one only while it runs SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError


class OpenTransaction(TransactionManagementError):
    """A wait was about to begin inside a transaction: it would hold locks, and one of few connections, meanwhile."""


def give_back(using: str | None = None) -> None:
    """Give this greenlet's connections (or the one of the alias `using`) back to the pool, before a network wait.

    The next query takes one again, by itself. Raises OpenTransaction inside `atomic`, and where a server-side cursor
    (`.iterator()`) is not read to its end. The transaction that Django's TestCase keeps around a test does not count:
    its connection simply stays.
    """
    for connection in _mine(using):
        if connection.connection is None or _only_of_testcase(connection):
            continue
        if connection.in_atomic_block or not connection.autocommit:
            raise OpenTransaction(f"a wait inside a transaction on {connection.alias!r}")
        if getattr(connection, "reads_from_server", False):
            raise OpenTransaction(f"a wait while an iterator reads from {connection.alias!r}")
        connection.close()


@contextmanager
def waiting(using: str | None = None) -> Iterator[None]:
    """Around a network wait: no connection is held when it begins; raises as `give_back` does."""
    give_back(using)
    yield


def discard(using: str | None = None) -> None:
    """Close this greenlet's connections for good: for one that keeps state, such as an advisory lock or LISTEN."""
    for connection in _mine(using):
        if connection.connection is not None and not connection.in_atomic_block:
            connection.connection.close()
            connection.close()


def _mine(using: str | None) -> list[BaseDatabaseWrapper]:
    every = connections.all(initialized_only=True)
    return [connection for connection in every if using in (None, connection.alias)]


def _only_of_testcase(connection: BaseDatabaseWrapper) -> bool:
    blocks = connection.atomic_blocks
    return bool(blocks) and all(getattr(block, "_from_testcase", False) for block in blocks)
