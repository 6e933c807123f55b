"""A process's connections to one database: never more than a bound, shared by its greenlets or threads.

Who waits is served in order. What comes back is clean or closed. A process that forks leaves its connections to the
parent.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from django.db import OperationalError
from gevent import monkey
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
    connection,
)

from project.postgres.green import open_connection, owner_lives

#: A connection that nobody used for so long is closed when another comes back.
IDLE_SECONDS = 60.0
#: How often one who waits looks for connections whose greenlets ended without giving them back.
RECLAIM_SECONDS = 1.0


class NoFreeConnection(OperationalError):
    """Every connection of this process was busy for the whole time that one may wait for it."""


@dataclass(frozen=True, slots=True)
class PoolState:
    """How busy a pool is: connections lent and idle, greenlets waiting, and the bound of lent + idle."""

    lent: int
    idle: int
    waiting: int
    size: int


@dataclass(slots=True, eq=False)
class _Idle:
    raw: connection
    since: float


@dataclass(slots=True, eq=False)
class _Loan:
    #: None: being opened.
    raw: connection | None
    lives: Callable[[], bool]


@dataclass(slots=True, eq=False)
class _Waiter:
    loan: _Loan
    served: threading.Event = field(default_factory=lambda: threading.Event())


class Pool:
    """At most `size` connections made by `connect`, all alike.

    `lend` returns one that is connected and outside any transaction; `take_back` wants each of them again.
    """

    def __init__(self, *, name: str, size: int, wait_seconds: float, connect: Callable[[], connection]) -> None:
        self.name = name
        self.size = size
        self._wait_seconds = wait_seconds
        self._connect = connect
        self._lock = threading.Lock()
        #: The one used last is lent first; the oldest stands at the left.
        self._idle: deque[_Idle] = deque()
        self._loans: list[_Loan] = []
        self._waiters: deque[_Waiter] = deque()
        self._closed = False

    def lend(self) -> connection:
        """Return a connection, waiting for one where all are busy; raises NoFreeConnection, psycopg2's errors."""
        loan = _Loan(None, owner_lives())
        try:
            self._reserve(loan)
            while loan.raw is not None and not _is_quiet(loan.raw):
                # the server said something, most likely farewell
                _close(loan.raw)
                loan.raw = self._other_idle()
            if loan.raw is None:
                loan.raw = open_connection(self._connect)
        except BaseException:
            self._end(loan, keep=loan.raw)
            raise
        return loan.raw

    def take_back(self, raw: connection, *, usable: bool = True) -> None:
        """Take a lent connection again: rolled back, or closed where it is not `usable` or cannot be cleaned."""
        loan = next((loan for loan in self._loans if loan.raw is raw), None)
        kept = None
        try:
            kept = raw if usable and _cleaned(raw) else None
        finally:
            if kept is None or loan is None:
                _close(raw)
            if loan is not None:
                self._end(loan, keep=kept)

    def close(self) -> None:
        """Close what is idle or was forgotten; what is lent is closed as it comes back."""
        self._closed = True
        self._reclaim()
        with self._lock:
            idle, self._idle = self._idle, deque()
        for entry in idle:
            _close(entry.raw)

    def state(self) -> PoolState:
        """Return how busy it is."""
        return PoolState(len(self._loans), len(self._idle), len(self._waiters), self.size)

    def _reserve(self, loan: _Loan) -> None:
        """Count `loan` in, with an idle connection where there is one; waits for a free place."""
        with self._lock:
            if len(self._loans) < self.size and not self._waiters:
                self._admit(loan)
                return
            waiter = _Waiter(loan)
            self._waiters.append(waiter)
        try:
            self._await_place(waiter)
        except BaseException:
            with self._lock:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            raise

    def _await_place(self, waiter: _Waiter) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            self._reclaim()
            left = deadline - time.monotonic()
            if waiter.served.wait(max(0.0, min(left, RECLAIM_SECONDS))):
                return
            if left <= 0:
                raise NoFreeConnection(
                    f"all {self.size} connections of this process to {self.name!r} were busy for "
                    f"{self._wait_seconds:g} s; DB_POOL_SIZE sets how many it may have"
                )

    def _admit(self, loan: _Loan) -> None:
        self._loans.append(loan)
        if self._idle:
            loan.raw = self._idle.pop().raw

    def _other_idle(self) -> connection | None:
        with self._lock:
            return self._idle.pop().raw if self._idle else None

    def _end(self, loan: _Loan, *, keep: connection | None) -> None:
        """Count `loan` out, keeping its connection for the next, and let in who waits longest."""
        stale: list[connection] = []
        with self._lock:
            if loan in self._loans:
                self._loans.remove(loan)
            if keep is not None and not self._closed:
                self._idle.append(_Idle(keep, time.monotonic()))
            elif keep is not None:
                stale.append(keep)
            while self._waiters and len(self._loans) < self.size:
                waiter = self._waiters.popleft()
                self._admit(waiter.loan)
                waiter.served.set()
            while self._idle and self._idle[0].since < time.monotonic() - IDLE_SECONDS:
                stale.append(self._idle.popleft().raw)
        for raw in stale:
            _close(raw)

    def _reclaim(self) -> None:
        """Close the connections whose owners ended without giving them back."""
        for loan in [loan for loan in self._loans if not loan.lives()]:
            if loan.raw is not None:
                _close(loan.raw)
            self._end(loan, keep=None)


def _cleaned(raw: connection) -> bool:
    """Whether a connection is outside any transaction now, rolled back if need be."""
    if raw.closed:
        return False
    status = raw.info.transaction_status
    if status in (TRANSACTION_STATUS_INTRANS, TRANSACTION_STATUS_INERROR):
        try:
            raw.rollback()
        except psycopg2.Error:
            return False
        status = raw.info.transaction_status
    return bool(status == TRANSACTION_STATUS_IDLE)


def _close(raw: connection) -> None:
    try:
        raw.close()
    except psycopg2.Error:
        # it was broken already, and libpq has let go of the socket
        return


# gevent's own poll may switch to another greenlet even when told not to wait
_poll: Callable[[], Any] = monkey.get_original("select", "poll")


def _is_quiet(raw: connection) -> bool:
    """Whether nothing has come in on an idle connection; a server that stops or hangs up is heard here."""
    if raw.closed:
        return False
    poll = _poll()
    poll.register(raw.fileno(), select.POLLIN | select.POLLERR | select.POLLHUP)
    return not poll.poll(0)


_pools: dict[str, tuple[Mapping[str, Any], Pool]] = {}


def pool_of(
    alias: str, parameters: Mapping[str, Any], *, size: int, wait_seconds: float, connect: Callable[[], connection]
) -> Pool:
    """Return this process's pool of a database alias; a new one when the parameters of connecting have changed."""
    known = _pools.get(alias)
    if known is not None and known[0] == parameters and known[1].size == size:
        return known[1]
    close_pool(alias)
    pool = Pool(name=alias, size=size, wait_seconds=wait_seconds, connect=connect)
    _pools[alias] = (dict(parameters), pool)
    return pool


def close_pool(alias: str) -> None:
    """Close the pool of a database alias; the next use of it makes another."""
    _, pool = _pools.pop(alias, (None, None))
    if pool is not None:
        pool.close()


def pool_states() -> dict[str, PoolState]:
    """Return how busy the pools of this process are, by database alias."""
    return {alias: pool.state() for alias, (_, pool) in list(_pools.items())}


def _forget_pools() -> None:
    """In a new child: the sockets are the parent's; psycopg2 does not close what another process opened."""
    _pools.clear()


os.register_at_fork(after_in_child=_forget_pools)
