"""Which database holds what: the bits of an id, the shard at hand, and Django's router over both.

Ids of what an account owns carry the number of its shard in bits 48 to 62, so an id tells its database without a
look-up. Shard 0 is the database `default`; shard n is `shard_<n>`. Control tables live in `default` alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, models

#: How many bits of an id number its shard, and how many lie below them. Bit 63 is never set.
SHARD_BITS = 15
ROW_BITS = 48
MAX_SHARD = 2**SHARD_BITS - 1

#: Apps whose models live in the shards, unless the model says `sharded = False`. Every other app is control.
SHARDED_APPS = frozenset({"accounts", "sync", "webhooks"})
_PREFIX = "shard_"

_at_hand: ContextVar[int | None] = ContextVar("shard", default=None)


class UnknownShard(LookupError):
    """No database is configured for this shard."""


class NoShardAtHand(LookupError):
    """A sharded model was used where several databases could be meant, and nothing said which."""


def shard_of(row_id: int) -> int:
    """Return the shard (0 to 32767) that an id belongs to. Raises UnknownShard for what cannot be an id."""
    if not 0 <= row_id < 2**63:
        raise UnknownShard(f"{row_id} is not an id: ids have 63 bits")
    return row_id >> ROW_BITS


def id_range(shard: int) -> tuple[int, int]:
    """Return the first and the last id of a shard."""
    return (shard << ROW_BITS) + 1, ((shard + 1) << ROW_BITS) - 1


def alias_of(shard: int) -> str:
    """Return the alias of the database that holds a shard. Raises UnknownShard where none is configured."""
    alias = DEFAULT_DB_ALIAS if shard == 0 else f"{_PREFIX}{shard}"
    if alias not in settings.DATABASES:
        raise UnknownShard(f"no database for shard {shard}: set SHARD_{shard}_URL")
    return alias


def shard_at(alias: str) -> int | None:
    """Return the shard that a database holds; None: it is not one of ours (a replica, say)."""
    if alias == DEFAULT_DB_ALIAS:
        return 0
    number = alias.removeprefix(_PREFIX)
    if alias.startswith(_PREFIX) and number.isdecimal() and 0 < int(number) <= MAX_SHARD:
        return int(number)
    return None


def shards() -> list[int]:
    """Return every shard that has a database, in order: for work that visits all of them."""
    return sorted(shard for alias in settings.DATABASES if (shard := shard_at(alias)) is not None)


def alias_at_hand(row_id: int | None = None) -> str:
    """Return the database of an id, or of the shard at hand, or `default`."""
    shard = _at_hand.get() if row_id is None else shard_of(row_id)
    return alias_of(shard or 0)


@contextmanager
def on_shard(row_id: int = 0, *, shard: int | None = None) -> Iterator[str]:
    """Within the block, queries on sharded models go to the database of this id (an account's, a folder's, …).

    `shard` names the shard itself instead. Gives the alias. Raises UnknownShard.
    """
    number = shard_of(row_id) if shard is None else shard
    alias = alias_of(number)
    token = _at_hand.set(number)
    try:
        yield alias
    finally:
        _at_hand.reset(token)


def is_sharded(model: type[models.Model]) -> bool:
    """Whether a model's rows live in the shards (its `sharded` says so, else its app), not in `default` alone."""
    return bool(getattr(model, "sharded", model._meta.app_label in SHARDED_APPS))


class ShardRouter:
    """Django's database router: control tables to `default`, everything else to its account's shard.

    That is the shard of the object at hand, else the one of `on_shard`. Where several shards are configured and neither
    is there, it raises NoShardAtHand: the first database would answer with other people's rows, or none.
    """

    def db_for_read(self, model: type[models.Model], **hints: object) -> str:
        return self._database(model, hints.get("instance"))

    def db_for_write(self, model: type[models.Model], **hints: object) -> str:
        return self._database(model, hints.get("instance"))

    def allow_relation(self, first: models.Model, second: models.Model, **hints: object) -> bool:
        """Rows of one shard, or a row and a control table: such keys carry no constraint."""
        if is_sharded(type(first)) and is_sharded(type(second)):
            return first._state.db == second._state.db or None in (first._state.db, second._state.db)
        return True

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: object) -> bool | None:
        if model_name is None or db == DEFAULT_DB_ALIAS:
            return None
        try:
            # the model of today: one in a migration's state has lost its `sharded`
            return is_sharded(apps.get_model(app_label, model_name))
        except LookupError:
            return app_label in SHARDED_APPS

    def _database(self, model: type[models.Model], instance: object) -> str:
        if not is_sharded(model):
            return DEFAULT_DB_ALIAS
        if isinstance(instance, models.Model) and is_sharded(type(instance)):
            if instance._state.db is not None:
                return instance._state.db
            owner = getattr(instance, "account_id", None)
            if isinstance(owner, int):
                return alias_at_hand(owner)
        if _at_hand.get() is None and len(shards()) > 1:
            raise NoShardAtHand(f"{model._meta.label}: which shard? Call inside on_shard(<id of the account>)")
        return alias_at_hand()
