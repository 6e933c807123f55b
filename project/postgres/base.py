"""The backend that `ENGINE = "project.postgres"` names.

Own keys of `DATABASES[alias]["OPTIONS"]`, none of which reaches libpq:
pool_size          connections a process (DB_POOL_SIZE)
pool_wait          seconds to wait for a free one (10)
statement_timeout  seconds; 0: no limit (by PROCESS_ROLE)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakSet

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg2.extensions import connection, cursor

from project.postgres.limits import KEEPALIVE, STATEMENT_SECONDS, session_options
from project.postgres.pool import Pool, close_pool, pool_of

POOL_SIZE = 10
POOL_WAIT_SECONDS = 10.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A greenlet's (or thread's) view of a database; `close` gives the connection under it back to the pool."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Where the connection at hand was lent; None: there is none, or it is ours alone.
        self._lender: Pool | None = None
        self._server_side: WeakSet[cursor] = WeakSet()

    @property
    def reads_from_server(self) -> bool:
        """Whether a server-side cursor is open, which would go on reading from a connection given back."""
        return any(not named.closed for named in self._server_side)

    def get_connection_params(self) -> dict[str, Any]:
        """Return what libpq is called with."""
        parameters: dict[str, Any] = KEEPALIVE | super().get_connection_params()
        role = getattr(settings, "PROCESS_ROLE", "command")
        statement_seconds = float(parameters.pop("statement_timeout", STATEMENT_SECONDS[role]))
        limits = session_options(statement_seconds=statement_seconds, time_zone=self.timezone_name)
        # later words win: an operator may override ours in the URL
        parameters["options"] = f"{limits} {parameters.get('options', '')}".strip()
        parameters.setdefault("application_name", f"mailmirror {role}")
        for own in ("pool_size", "pool_wait"):
            parameters.pop(own, None)
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> connection:
        """Return a connection from the pool, opened where none is idle; raises NoFreeConnection."""
        connect: Callable[[], connection] = partial(super().get_new_connection, conn_params)
        if self.alias == NO_DB_ALIAS:
            return connect()
        options = self.settings_dict["OPTIONS"]
        size = int(options.get("pool_size", getattr(settings, "DB_POOL_SIZE", POOL_SIZE)))
        wait = float(options.get("pool_wait", POOL_WAIT_SECONDS))
        pool = pool_of(self.alias, conn_params, size=size, wait_seconds=wait, connect=connect)
        raw = pool.lend()
        self._lender = pool
        return raw

    def create_cursor(self, name: str | None = None) -> Any:
        """Return a cursor; one with a name lives in the server, and is remembered as long as it is open."""
        made = super().create_cursor(name)
        if name is not None:
            self._server_side.add(made)
        return made

    def close_if_health_check_failed(self) -> None:
        """Let go of a connection that broke, so that the query about to run gets another."""
        if self.connection is not None and self.connection.closed and not self.in_atomic_block:
            self.close()
        super().close_if_health_check_failed()

    def _close(self) -> None:
        raw, pool, self._lender = self.connection, self._lender, None
        if raw is None or pool is None:
            super()._close()  # type: ignore[misc]  # the stubs leave it out
            return
        usable = not (self.in_atomic_block or self.errors_occurred or self.reads_from_server)
        self._server_side.clear()
        self.connection = None
        with self.wrap_database_errors:
            pool.take_back(raw, usable=usable)

    def close_pool(self) -> None:
        """Close this database's idle connections, before it is dropped or copied."""
        if self.alias != NO_DB_ALIAS:
            close_pool(self.alias)

    def forget(self) -> None:
        """Drop a connection that belongs to the parent process, without a word to the server."""
        self.connection = self._lender = None
        self._server_side.clear()
        self.in_atomic_block = self.closed_in_transaction = False


def _forget_connections() -> None:
    for wrapper in connections.all(initialized_only=True):
        if isinstance(wrapper, DatabaseWrapper):
            wrapper.forget()


os.register_at_fork(after_in_child=_forget_connections)
