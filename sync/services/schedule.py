"""When to look again: due times in the database, tasks in the queues.

The broker may lose everything: whatever is due is found again by beat, whatever was queued is taken for lost after a
minute.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Least
from kombu.exceptions import OperationalError

from accounts.models import Status
from celery_config import app
from project.postgres.away import is_away, patiently
from project.shards import on_shard
from sync.errors import MailError
from sync.models import AccountSync, Folder, SyncState
from sync.services.leases import LEASE, QUEUE_PATIENCE, ClockTimestamp, Lease, progress_of, release

log = structlog.get_logger(__name__)

#: The inbox of an account that had news lately is looked at this often (its STATUS, on the warm session) ...
ACTIVE_LOOK = timedelta(seconds=1)
#: ... of any other, this often.
QUIET_LOOK = timedelta(seconds=5)
#: How long news keep an account active.
ACTIVE_FOR = timedelta(minutes=15)
#: All folders are looked at (LIST and STATUS of each) this often.
LIST_INTERVAL = timedelta(seconds=10)
#: A folder of which STATUS cannot prove that nothing changed is compared in full this often ...
FULL_COMPARE = timedelta(seconds=60)
#: ... and any other one, as a net below the looks.
NET_COMPARE = timedelta(minutes=15)
#: First wait after a failure; it doubles up to the limit.
FIRST_BACKOFF = timedelta(seconds=10)
LAST_BACKOFF = timedelta(hours=1)
#: Wait after work that failed because our database was away.
AFTER_AWAY = timedelta(seconds=1)
#: Rows one round of beat enqueues at most, for each kind and shard.
ROUND = 1000


def backoff(failures: int) -> timedelta:
    """How long to wait after so many failures in a row."""
    doublings = min(max(failures - 1, 0), 20)
    return min(FIRST_BACKOFF * (1 << doublings), LAST_BACKOFF)


def request_pass(*, account_id: int) -> int:
    """Ask for a comparison of every folder with the server, now; return the number of the request.

    `AccountSync.completed` reaches it once a pass that began after this call is committed.
    """
    with on_shard(account_id) as alias, transaction.atomic(using=alias):
        requested = raise_request(account_id)
        transaction.on_commit(lambda: enqueue_accounts([account_id]), using=alias, robust=True)
    return requested


def raise_request(account_id: int) -> int:
    """Number a new request for a pass and make the account due; within the caller's transaction."""
    mine = AccountSync.objects.filter(account_id=account_id)
    mine.update(requested=F("requested") + 1, next_look_at=Least(F("next_look_at"), ClockTimestamp()))
    return mine.values_list("requested", flat=True).get()


def _unqueued() -> Q:
    return Q(queued_at=None) | Q(queued_at__lt=ClockTimestamp() - QUEUE_PATIENCE)


def enqueue_accounts(account_ids: Iterable[int]) -> None:
    """Put looks at accounts into the queues, except those that wait there already."""
    for account_id in account_ids:
        with on_shard(account_id):
            fresh = AccountSync.objects.filter(_unqueued(), account_id=account_id, account__status=Status.VALID)
            if not fresh.update(queued_at=ClockTimestamp()):
                continue
            if not send("sync.tasks.look_at_account", f"sync.{partition(account_id)}", account_id=account_id):
                AccountSync.objects.filter(account_id=account_id).update(queued_at=None)


def enqueue_folders(folder_ids: Iterable[int]) -> None:
    """Put folders into the queues, except those that wait there already.

    News go by account, to the process with the warm session; first mirrors by folder, so that all processes share
    the work of one large mailbox.
    """
    for folder_id in folder_ids:
        with on_shard(folder_id):
            fresh = SyncState.objects.filter(_unqueued(), folder_id=folder_id, account__status=Status.VALID)
            if not fresh.update(queued_at=ClockTimestamp(), next_sync_at=ClockTimestamp() + QUEUE_PATIENCE):
                continue
            account_id, complete = SyncState.objects.values_list("account_id", "complete").get(folder_id=folder_id)
            queue = f"sync.{partition(account_id)}" if complete else f"backfill.{partition(folder_id)}"
            if not send("sync.tasks.sync_folder", queue, folder_id=folder_id):
                SyncState.objects.filter(folder_id=folder_id).update(queued_at=None, next_sync_at=ClockTimestamp())


def partition(number: int) -> int:
    """The queue of an account or folder."""
    return int(number % settings.SYNC_PARTITIONS)


def send(task: str, queue: str, **arguments: int) -> bool:
    """Put a task into a queue; False: the broker cannot be reached, and beat finds the work again."""
    try:
        app.send_task(task, kwargs=arguments, queue=queue)
    except OperationalError as error:
        log.warning("broker_unreachable", task=task, error=str(error), **arguments)
        return False
    return True


def forget_queued() -> None:
    """Take whatever waits in a queue for lost, in the shard at hand: beat finds it due."""
    AccountSync.objects.exclude(queued_at=None).update(queued_at=None)
    SyncState.objects.exclude(queued_at=None).update(queued_at=None, next_sync_at=ClockTimestamp())


def schedule_due_folders() -> int:
    """Enqueue the folders whose time has come, in the shard at hand; return how many."""
    due = _take_due(
        SyncState.objects.filter(account__status=Status.VALID, folder__selectable=True), "next_sync_at", "folder_id"
    )
    enqueue_folders(due)
    return len(due)


def schedule_due_accounts() -> int:
    """Enqueue looks at the accounts whose time has come, in the shard at hand; return how many."""
    due = _take_due(AccountSync.objects.filter(account__status=Status.VALID), "next_look_at", "account_id")
    enqueue_accounts(due)
    return len(due)


def _take_due(rows: QuerySet[AccountSync] | QuerySet[SyncState], column: str, key: str) -> list[int]:
    now = ClockTimestamp()
    due = rows.filter(_unqueued(), **{f"{column}__lte": now}).order_by(column)
    # nobody works on it: a lease that runs says when the next look is due, by itself
    free = due.filter(Q(lease_until=None) | Q(lease_until__lt=now))
    return list(free.values_list(key, flat=True)[:ROUND])


def release_folder(lease: Lease, *, provable: bool, more: bool = False) -> None:
    """Let a folder go after work that went well; `more`: its next slice is due at once."""
    wait = timedelta(0) if more else NET_COMPARE if provable else FULL_COMPARE
    released = release(lease, next_sync_at=ClockTimestamp() + wait, failures=0, last_error="")
    if released and more:
        enqueue_folders([lease.folder])


def release_account(lease: Lease, *, active: bool) -> None:
    """Let an account go after a look that went well; unless something asked for an earlier one meanwhile."""
    wait = ACTIVE_LOOK if active else QUIET_LOOK
    release(lease, next_look_at=ClockTimestamp() + wait, failures=0, last_error="")
    with on_shard(lease.account_id):
        asked = AccountSync.objects.filter(account_id=lease.account_id, requested__gt=F("listed"))
        if asked.exists():
            enqueue_accounts([lease.account_id])


def release_failed(lease: Lease, error: Exception, *, retry_after: float | None = None) -> bool:
    """Let work go that failed: counted, shown in the admin, tried again later and later.

    False: there is nothing to fail at any more, since the account or the folder was removed meanwhile.
    """
    row = patiently(lambda: progress_of(lease), seconds=LEASE.total_seconds())
    if row is None:
        return False
    if is_away(error):
        # our own fault, and mended by now
        failures, wait = row.failures, AFTER_AWAY
    else:
        failures = min(row.failures + 1, 32_000)
        wait = max(backoff(failures), timedelta(seconds=retry_after or 0))
    column = "next_look_at" if lease.folder_id is None else "next_sync_at"
    known = isinstance(error, MailError)
    release(
        lease,
        failures=failures,
        last_error=str(error) if known else f"{type(error).__name__}: an internal error, see the log",
        last_error_at=ClockTimestamp(),
        **{column: ClockTimestamp() + wait},
    )
    return True


def selectable_folders(account_id: int) -> QuerySet[Folder]:
    """The folders that a pass compares."""
    return Folder.objects.filter(account_id=account_id, selectable=True)


def note_news(account_id: int, *, news: bool, vanished: bool) -> None:
    """After a folder's commit: an account with news stays active; a loss asks for a look at the other folders now."""
    if news:
        AccountSync.objects.filter(account_id=account_id).update(last_news_at=ClockTimestamp())
    if vanished:
        enqueue_accounts([account_id])
