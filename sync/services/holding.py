"""Messages that lost their last copy, and the fence of `G/sync`.

A message without copies is held until a pass that began after its loss is complete: had it moved, that pass would have
found the arrival. Only then it is deleted. A pass counts as complete once nothing is held any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connections, router
from django.db.models import Exists, Min, OuterRef
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.changelog.recorder import lock_account
from sync.models import AccountSync, Blob, FolderMessage, Message, RememberedMessage, SyncState
from sync.services.threads import refresh_threads

#: How long the id of a message that went away is kept for its return.
REMEMBER = timedelta(hours=24)
#: Messages deleted in one transaction.
SLICE = 200


def settle(account_id: int) -> bool:
    """Delete what is held and proven gone, and move the fence; return whether a pass is complete that was not before.

    Cheap where there is nothing to do: it takes no lock.
    """
    reached, compared_at = _reached(account_id)
    while _delete_held(account_id, reached):
        pass
    held = Message.objects.filter(account_id=account_id, held_by__isnull=False)
    if held.exists() or compared_at is None:
        return False
    behind = AccountSync.objects.filter(account_id=account_id, completed__lt=reached)
    moved = behind.update(completed=Greatest("completed", reached), last_synced_at=compared_at)
    if not moved:
        AccountSync.objects.filter(account_id=account_id, last_synced_at__lt=compared_at).update(
            last_synced_at=compared_at
        )
    return bool(moved)


def _reached(account_id: int) -> tuple[int, datetime | None]:
    """The newest request that every folder's comparison and the list of folders answer, and since when."""
    account = AccountSync.objects.filter(account_id=account_id).values_list("listed", "listed_at").first()
    if account is None or account[1] is None:
        return 0, None
    listed, listed_at = account
    folders = SyncState.objects.filter(account_id=account_id, folder__selectable=True)
    least = folders.aggregate(looked=Min("looked"), at=Min("looked_at"))
    if folders.filter(looked_at=None).exists():
        return 0, None
    if least["looked"] is None:
        return listed, listed_at
    return min(listed, least["looked"]), min(listed_at, least["at"])


def _delete_held(account_id: int, reached: int) -> int:
    gone = Message.objects.filter(account_id=account_id, held_by__lte=reached)
    if not gone.exists():
        return 0
    with lock_account(account_id):
        if not AccountSync.objects.filter(pk=account_id).exists():
            # removed meanwhile: nothing is recorded behind its end
            return 0
        copy = FolderMessage.objects.filter(message_id=OuterRef("pk"))
        rows = list(gone.filter(~Exists(copy)).values_list("pk", "sha256", "thread_id")[:SLICE])
        delete_messages(account_id, [(pk, bytes(sha256), thread_id) for pk, sha256, thread_id in rows])
    return len(rows)


def delete_messages(account_id: int, rows: Sequence[tuple[int, bytes, int]]) -> None:
    """Delete messages (id, hash, thread) with all that belongs to them; inside the caller's `lock_account`."""
    if not rows:
        return
    hashes = [sha256 for _, sha256, _ in rows]
    RememberedMessage.objects.filter(account_id=account_id, sha256__in=hashes).delete()
    RememberedMessage.objects.bulk_create(
        RememberedMessage(account_id=account_id, sha256=sha256, message_id=pk) for pk, sha256, _ in rows
    )
    Message.objects.filter(pk__in=[pk for pk, _, _ in rows]).delete()
    with connections[router.db_for_write(Blob)].cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {Blob._meta.db_table} WHERE account_id = %s AND sha256 = ANY(%s)",
            [account_id, hashes],
        )
    refresh_threads(account_id, {thread_id for _, _, thread_id in rows})


def forget_remembered() -> int:
    """Forget the ids of messages that went away more than a day ago, in the shard at hand; return how many."""
    old = RememberedMessage.objects.filter(forgotten_at__lt=timezone.now() - REMEMBER)
    return old.delete()[0]
