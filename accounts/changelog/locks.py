"""The lock of an account: its head, held to the commit, and named to the guards of the logged tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from weakref import WeakKeyDictionary

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts.changelog.signals import account_changed
from project.shards import alias_at_hand, alias_of, on_shard, shard_at, shard_of

log = logging.getLogger(__name__)

HEADS = "accounts_transactionhead"
#: What `mail.locked` says where every row may be written.
EVERY_ACCOUNT = "*"

# The locks are taken above the sort, so in the order of ids.
_TAKE_HEADS = f"SELECT account_id FROM {HEADS} WHERE account_id = ANY(%s) ORDER BY account_id FOR NO KEY UPDATE"


class LockOrder(RuntimeError):
    """A lock was asked for in an order that can end in a deadlock, or a write came without its lock."""


class NoHead(LookupError):
    """The account has no head: it never existed, or its log is pruned to the end."""


@dataclass(slots=True)
class Hold:
    """What one connection holds, from the beginning of the outermost block to its end."""

    accounts: frozenset[int]
    #: Inside `allow_unlogged`: writes are neither refused nor recorded.
    unlogged: bool = False
    #: Accounts that got a transaction: `account_changed` is sent for each after the commit.
    recorded: set[int] = field(default_factory=set)


# By connection, not by thread or context: the lock is the connection's, and a greenlet started inside has another.
_holds: WeakKeyDictionary[BaseDatabaseWrapper, Hold] = WeakKeyDictionary()


def hold_on(alias: str) -> Hold | None:
    """Return what the connection to a database holds; None: nothing."""
    return _holds.get(connections[alias])


@contextmanager
def lock_account(*account_ids: int, using: str | None = None) -> Iterator[None]:
    """Open a transaction and hold the heads of these accounts until it is committed.

    The first thing a transaction that writes to logged tables does; heads are taken in the order of ids. Within a held
    lock the same accounts may be named again. Accounts of two shards cannot be locked together.
    Inside, queries go to the accounts' shard. Raises NoHead, and LockOrder where another account was locked before.
    """
    accounts = frozenset(account_ids)
    alias = using or alias_of_accounts(accounts)
    hold = hold_on(alias)
    if hold is None:
        _refuse_beside_others(alias)
        with _holding(alias, accounts, partial(_take_heads, alias, accounts)):
            yield
    elif hold.unlogged or not accounts <= hold.accounts:
        held = "an unlogged block" if hold.unlogged else f"the lock of {_named(hold.accounts)}"
        raise LockOrder(f"accounts {_named(accounts)} asked for inside {held}: name every account in the first lock")
    else:
        with transaction.atomic(using=alias, savepoint=False):
            yield


@contextmanager
def open_head(account_id: int, application_id: int, using: str | None = None) -> Iterator[None]:
    """Make the head of a new account and hold it until the commit; the account's own row is inserted inside."""
    alias = using or alias_at_hand(account_id)
    if hold_on(alias) is not None:
        raise LockOrder(f"account {account_id} is new: it cannot be made inside another lock")
    _refuse_beside_others(alias)
    with _holding(alias, frozenset({account_id}), partial(_make_head, alias, account_id, application_id)):
        yield


@contextmanager
def allow_unlogged(reason: str, *, using: str | None = None) -> Iterator[None]:
    """Open a transaction in which writes to logged tables are neither refused nor recorded.

    For what no client can see: a migration of a column that is not served, the rows of an account already deleted.
    """
    alias = using or alias_at_hand()
    log.info("writing past the transaction log: %s", reason, extra={"database": alias})
    before = hold_on(alias)
    hold = Hold(before.accounts if before else frozenset(), unlogged=True)
    with _at_hand(alias), transaction.atomic(using=alias, savepoint=before is None):
        _name_locked(alias, EVERY_ACCOUNT)
        _holds[connections[alias]] = hold
        try:
            yield
            _name_again(alias, before)
        finally:
            _put_back(alias, before)


@contextmanager
def door(account_ids: Iterable[int], using: str) -> Iterator[None]:
    """What every way of writing to a logged table goes through: the lock, or, inside `allow_unlogged`, none."""
    hold = hold_on(using)
    if hold is not None and hold.unlogged:
        with transaction.atomic(using=using, savepoint=False):
            yield
    else:
        with lock_account(*account_ids, using=using):
            yield


def alias_of_accounts(accounts: Iterable[int]) -> str:
    """Return the database of these accounts. Raises LockOrder where it is not one, or no account is named."""
    shards = {shard_of(account_id) for account_id in accounts}
    if len(shards) != 1:
        raise LockOrder(f"a lock is of accounts of one shard, not of {len(shards)}")
    return alias_of(shards.pop())


def _named(accounts: Iterable[int]) -> str:
    return ",".join(map(str, sorted(accounts)))


@contextmanager
def _holding(alias: str, accounts: frozenset[int], take: Callable[[], None]) -> Iterator[None]:
    connection = connections[alias]
    within = connection.in_atomic_block
    with _at_hand(alias), transaction.atomic(using=alias):
        take()
        hold = _holds[connection] = Hold(accounts)
        try:
            yield
            if within and not connection.needs_rollback:
                # the transaction goes on, and what follows is written without the lock
                _name_locked(alias, "")
            for account_id in sorted(hold.recorded):
                transaction.on_commit(partial(announce, account_id), using=alias, robust=True)
        finally:
            _put_back(alias, None)


def _at_hand(alias: str) -> AbstractContextManager[object]:
    """Whoever writes an account's rows reads them in the same database."""
    shard = shard_at(alias)
    return nullcontext() if shard is None else on_shard(shard=shard)


def announce(account_id: int) -> None:
    """Tell the rest of the house that an account has new transactions, already committed."""
    account_changed.send_robust(sender=None, account_id=account_id)


def _take_heads(alias: str, accounts: frozenset[int]) -> None:
    if not accounts:
        raise LockOrder("lock_account() names no account")
    with connections[alias].cursor() as cursor:
        # one round trip
        cursor.execute(
            f"SELECT set_config('mail.locked', %s, true); {_TAKE_HEADS}", [_named(accounts), sorted(accounts)]
        )
        missing = accounts - {account_id for (account_id,) in cursor.fetchall()}
    if missing:
        raise NoHead(f"no head of account {_named(missing)}")


def hold_heads(alias: str, accounts: Iterable[int]) -> None:
    """Take heads until the commit without a block: rows may be locked after them, but not written."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_TAKE_HEADS, [sorted(accounts)])


def _make_head(alias: str, account_id: int, application_id: int) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT set_config('mail.locked', %s, true);"
            f" INSERT INTO {HEADS} (account_id, application_id, last_seq, pruned_seq)"
            " VALUES (%s, %s, 0, 0)",
            [str(account_id), account_id, application_id],
        )


def _name_locked(alias: str, value: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT set_config('mail.locked', %s, true)", [value])


def _name_again(alias: str, before: Hold | None) -> None:
    if not connections[alias].needs_rollback:
        named = EVERY_ACCOUNT if before and before.unlogged else _named(before.accounts) if before else ""
        _name_locked(alias, named)


def _put_back(alias: str, before: Hold | None) -> None:
    if before is None:
        _holds.pop(connections[alias], None)
    else:
        _holds[connections[alias]] = before


def _refuse_beside_others(alias: str) -> None:
    """Two databases commit one after the other: a lock in each would be a deadlock no server can see."""
    for connection in connections.all(initialized_only=True):
        if connection.alias != alias and connection in _holds:
            raise LockOrder(f"a lock on {connection.alias} is held while one on {alias} is asked for")
