"""Our database backend: Django's own for PostgreSQL, with greenlets, a bounded pool and time limits.

`ENGINE = "project.postgres"`. Whoever waits for the network gives its connection back first: `give_back`, `waiting`.
"""

from project.postgres.giving import OpenTransaction, discard, give_back, waiting
from project.postgres.pool import NoFreeConnection, PoolState, pool_states

__all__ = ["NoFreeConnection", "OpenTransaction", "PoolState", "discard", "give_back", "pool_states", "waiting"]
