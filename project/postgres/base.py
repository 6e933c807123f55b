"""The backend that `ENGINE = "project.postgres"` names."""

from __future__ import annotations

import sys
from typing import Any

from django.db.backends.postgresql import base, creation
from psycopg2 import extensions

from project.postgres.pool import Pool, drain_all, pool_of


def use_greenlets() -> bool:
    """Let psycopg2 switch greenlets while it waits, where gevent has patched this process; tell whether it has."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("socket"):
        return False
    if extensions.get_wait_callback() is None:
        extensions.set_wait_callback(_wait)
    return True


def _wait(raw: Any) -> None:
    """Wait in the hub until PostgreSQL answers. Source: psycopg2, "Support for coroutine libraries"."""
    from gevent.socket import wait_read, wait_write

    while True:
        state = raw.poll()
        if state == extensions.POLL_OK:
            return
        if state == extensions.POLL_READ:
            wait_read(raw.fileno())
        elif state == extensions.POLL_WRITE:
            wait_write(raw.fileno())
        else:
            raise base.Database.OperationalError(f"poll() answered {state}")


class DatabaseCreation(creation.DatabaseCreation):
    """Test databases can only be dropped once no pooled connection is open to them."""

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        drain_all()
        super()._destroy_test_db(test_database_name, verbosity)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's own wrapper, whose connections come from the pool and go back to it."""

    creation_class = DatabaseCreation

    def get_connection_params(self) -> dict[str, Any]:
        """What psycopg2 is given; the size of the pool is ours."""
        params: dict[str, Any] = super().get_connection_params()
        self._pool_size = int(params.pop("pool_size", 10))
        return params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Take a connection from the pool."""
        use_greenlets()
        pool = pool_of((self.alias, conn_params.get("dbname"), conn_params.get("host")), self._pool_size)
        raw = pool.take(lambda: base.DatabaseWrapper.get_new_connection(self, conn_params))
        self._pool: Pool = pool
        return raw

    def _close(self) -> None:
        if self.connection is not None:
            self._pool.put(self.connection)
