"""Raw connections kept open between uses, at most so many of a database in one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any

import psycopg2
from psycopg2 import extensions

#: Seconds a caller waits for a free connection.
PATIENCE = 30.0


class Pool:
    """Connections to one database. Safe between threads, and between greenlets of a patched process."""

    def __init__(self, size: int) -> None:
        self._free: list[Any] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(size)
        self._size = size

    def take(self, connect: Callable[[], Any]) -> Any:
        """Return an open connection, a new one where none is free; OperationalError after PATIENCE seconds."""
        if not self._places.acquire(timeout=PATIENCE):
            raise psycopg2.OperationalError(
                f"no database connection got free in {PATIENCE:.0f} s: DB_POOL_SIZE={self._size}"
            )
        try:
            with self._lock:
                raw = self._free.pop() if self._free else None
            return raw if raw is not None and not raw.closed else connect()
        except BaseException:
            self._places.release()
            raise

    def put(self, raw: Any) -> None:
        """Take a connection back; one that is broken, or cannot be made clean, is closed instead of kept."""
        try:
            if _make_clean(raw):
                with self._lock:
                    self._free.append(raw)
            else:
                raw.close()
        finally:
            self._places.release()

    def drain(self) -> None:
        """Close what is free."""
        with self._lock:
            free, self._free = self._free, []
        for raw in free:
            raw.close()


def _make_clean(raw: Any) -> bool:
    if raw.closed:
        return False
    if raw.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE:
        return True
    if raw.info.transaction_status == extensions.TRANSACTION_STATUS_ACTIVE:
        # a statement that was cut off still runs on it
        return False
    try:
        raw.rollback()
    except psycopg2.Error:
        return False
    return True


_pools: dict[Hashable, Pool] = {}
_pools_lock = threading.Lock()


def pool_of(key: Hashable, size: int) -> Pool:
    """Return the pool of a database, made when first asked for."""
    with _pools_lock:
        if key not in _pools:
            _pools[key] = Pool(size)
        return _pools[key]


def drain_all() -> None:
    """Close every free connection of this process."""
    with _pools_lock:
        pools = list(_pools.values())
    for pool in pools:
        pool.drain()


# a child shares no connection with its parent: what it inherited is forgotten, not closed
os.register_at_fork(after_in_child=_pools.clear)
