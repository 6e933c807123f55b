"""Removing an account: it is gone at once, and its mail is deleted after it, slice by slice.

A row of Removal says that mail of an account that is gone is still there: when whoever deletes it dies, the sweep goes
on.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.db import connections
from django.utils import timezone

from accounts.changelog.recorder import Entry, NoHead, allow_unlogged, lock_account, record_entries
from accounts.changelog.words import Kind, ObjectType
from accounts.models import Account, Credential, GrantDirectory
from accounts.services import AccountNotFound
from project.shards import on_shard, shard_of
from sync.models import (
    AccountSync,
    Blob,
    Body,
    Folder,
    FolderMessage,
    Message,
    Part,
    RememberedMessage,
    Removal,
    SyncState,
    Thread,
    ThreadKey,
)
from sync.services.leases import QUEUE_PATIENCE, ClockTimestamp
from sync.services.schedule import send

#: Messages deleted in one transaction, with all that belongs to them; rows of other tables.
SLICE = 500
ROWS = 5000
#: Seconds that one task deletes before it lets others have the worker.
TASK_SECONDS = 5.0
#: A directory row without its account is younger than this: its account may be on its way.
ON_ITS_WAY = timedelta(minutes=5)
#: Directory rows compared with their accounts at once.
COMPARED = 500

#: What belongs to a message, by the column that names it.
_OF_MESSAGES: tuple[type[Any], ...] = (Part, Body, FolderMessage)
#: What is left once the messages are gone: children first.
_OF_ACCOUNT: tuple[type[Any], ...] = (FolderMessage, ThreadKey, Blob, RememberedMessage, Thread, Folder)

#: Hears how many messages a slice deleted.
Tell = Callable[[int], None]


def disconnect_account(*, account_id: int) -> None:
    """Remove an account: it is gone when this returns; workers delete its mail. Raises AccountNotFound."""
    end_account(account_id=account_id)
    _enqueue(account_id)


def end_account(*, account_id: int) -> None:
    """End an account: one `grant.deleted`, and nothing can find, read or mirror it any more; its mail is still there.

    Quick, however large the mailbox. Raises AccountNotFound. The log outlives the account until it is pruned; a worker
    in the middle of a slice has lost its lease, and commits nothing.
    """
    with on_shard(account_id) as alias:
        try:
            with lock_account(account_id):
                _end(alias, account_id)
        except NoHead:
            raise AccountNotFound(f"no account {account_id}") from None
    GrantDirectory.objects.filter(pk=account_id).delete()


def _end(alias: str, account_id: int) -> None:
    mine = Account.objects.filter(pk=account_id)
    account = mine.first()
    if account is None:
        raise AccountNotFound(f"no account {account_id}")
    SyncState.objects.filter(account_id=account_id).delete()
    AccountSync.objects.filter(account_id=account_id).delete()
    Credential.objects.filter(account_id=account_id).delete()
    kept = Account.tombstone({name: getattr(account, name) for name in Account.tombstone_fields})
    record_entries(account_id, [Entry(ObjectType.GRANT, account_id, Kind.DELETED, kept)])
    # the doors would load and record every message first: its mail goes with the account, without a word each
    mine._raw_delete(alias)
    Removal.objects.create(account_id=account_id)


def count_messages(*, account_id: int) -> int:
    """Count the messages of an account, also of one that is gone: what is left to delete."""
    with on_shard(account_id):
        return Message.objects.filter(account_id=account_id).count()


def delete_mail(*, account_id: int, seconds: float | None = None, tell: Tell | None = None) -> bool:
    """Delete the mail of an ended account; return whether nothing is left. May be stopped anywhere, and run again.

    `seconds`: stop after so long. Each slice is one transaction, of which nothing is recorded.
    """
    until = None if seconds is None else time.monotonic() + seconds
    with on_shard(account_id) as alias:
        while _delete_slice(alias, account_id, tell or (lambda _messages: None)):
            if until is not None and time.monotonic() > until:
                return False
    return True


def _delete_slice(alias: str, account_id: int, tell: Tell) -> bool:
    """Delete a slice; False: nothing was left."""
    with allow_unlogged("account deleted", using=alias):
        # two who delete at once take turns
        removal = Removal.objects.select_for_update().filter(pk=account_id)
        if not removal:
            return False
        messages = _delete_messages(alias, account_id)
        if not messages and not any(_delete_rows(alias, model, account_id) for model in _OF_ACCOUNT):
            removal.delete()
            return False
        removal.update(worked_at=ClockTimestamp())
    tell(messages)
    return True


def _delete_messages(alias: str, account_id: int) -> int:
    rows = Message.objects.filter(account_id=account_id).values_list("pk", "sha256")[:SLICE]
    found = [(pk, bytes(sha256)) for pk, sha256 in rows]
    if not found:
        return 0
    ids = [pk for pk, _ in found]
    with connections[alias].cursor() as cursor:
        for model in _OF_MESSAGES:
            cursor.execute(f"DELETE FROM {model._meta.db_table} WHERE message_id = ANY(%s)", [ids])
        cursor.execute(
            f"DELETE FROM {Blob._meta.db_table} WHERE account_id = %s AND sha256 = ANY(%s)",
            [account_id, [sha256 for _, sha256 in found]],
        )
        cursor.execute(f"DELETE FROM {Message._meta.db_table} WHERE id = ANY(%s)", [ids])
    return len(ids)


def _delete_rows(alias: str, model: type[Any], account_id: int) -> int:
    table = model._meta.db_table
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE account_id = %s LIMIT %s))",
            [account_id, ROWS],
        )
        deleted: int = cursor.rowcount
    return deleted


def delete_some_mail(*, account_id: int) -> bool:
    """Delete for TASK_SECONDS, and enqueue the rest; return whether nothing is left."""
    finished = delete_mail(account_id=account_id, seconds=TASK_SECONDS)
    if not finished:
        _enqueue(account_id)
    return finished


def _enqueue(account_id: int) -> None:
    send("sync.tasks.delete_mail", "maintenance", account_id=account_id)


def sweep_removals() -> int:
    """Enqueue the removals that nobody has worked on for a minute, in the shard at hand; return how many."""
    forgotten = Removal.objects.filter(worked_at__lt=ClockTimestamp() - QUEUE_PATIENCE)
    ids = list(forgotten.values_list("account_id", flat=True))
    # the directory first: a crash may have come before its row went
    GrantDirectory.objects.filter(pk__in=ids).delete()
    for account_id in ids:
        if forgotten.filter(pk=account_id).update(worked_at=ClockTimestamp()):
            _enqueue(account_id)
    return len(ids)


def sweep_directory() -> int:
    """Mend what a crash left between the directory and the accounts; return how many rows were mended."""
    grants = GrantDirectory.objects.order_by("pk")
    mended, last = 0, 0
    while page := list(grants.filter(pk__gt=last)[:COMPARED]):
        last = page[-1].pk
        mended += _mend(page)
    return mended


def _mend(grants: Iterable[GrantDirectory]) -> int:
    mended = 0
    by_shard: defaultdict[int, list[GrantDirectory]] = defaultdict(list)
    for grant in grants:
        by_shard[shard_of(grant.pk)].append(grant)
    for shard, mine in by_shard.items():
        with on_shard(shard=shard):
            accounts = Account.objects.filter(pk__in=[grant.pk for grant in mine])
            statuses = dict(accounts.values_list("pk", "status"))
        for grant in mine:
            row = GrantDirectory.objects.filter(pk=grant.pk)
            if grant.pk not in statuses:
                mended += row.filter(created_at__lt=timezone.now() - ON_ITS_WAY).delete()[0]
            elif statuses[grant.pk] != grant.status:
                mended += row.update(status=statuses[grant.pk])
    return mended
