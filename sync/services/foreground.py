"""Mirroring in the foreground, for commands: one pass without a queue or a worker."""

from __future__ import annotations

import time
from collections.abc import Callable

from accounts.services import invalidate_account
from project.shards import on_shard
from sync.errors import FolderGone, MailError, NeedsOwner, Transient
from sync.models import AccountSync, SyncState
from sync.services import folder_sync, holding, look, schedule
from sync.services.leases import LeaseLost, claim_account, claim_folder
from sync.services.progress import SyncProgress, sync_progress

#: Seconds between two tries where a worker has the lease.
PATIENCE = 0.5
#: Failures in a row after which a command gives up.
TRIES = 5


def mirror_now(account_id: int, *, tell: Callable[[SyncProgress], None] | None = None) -> SyncProgress:
    """Make a pass that begins now and return when it is complete; `tell` hears of the progress after each slice.

    Shares the work with the workers, should some run: what one of them has the lease of is waited for. Raises any
    MailError, NeedsOwner at once and others after TRIES failures in a row.
    """
    asked = schedule.request_pass(account_id=account_id)
    failures = 0
    with on_shard(account_id):
        while True:
            progress = sync_progress(account_id)
            if tell is not None:
                tell(progress)
            if progress.completed >= asked:
                return progress
            try:
                worked = _look(account_id) | _sync_folders(account_id)
            except NeedsOwner as error:
                invalidate_account(account_id=account_id, reason=str(error))
                raise
            except MailError:
                failures += 1
                if failures >= TRIES:
                    raise
                worked = False
            else:
                failures = 0
            if not worked:
                time.sleep(PATIENCE)


def _look(account_id: int) -> bool:
    state = AccountSync.objects.get(account_id=account_id)
    if state.listed >= state.requested and state.failures == 0:
        return holding.settle(account_id)
    lease = claim_account(account_id)
    if lease is None:
        return False
    try:
        look.look_at_account(lease)
    except LeaseLost:
        return False
    except MailError as error:
        schedule.release_failed(lease, error, retry_after=1)
        raise
    schedule.release_account(lease, active=True)
    return True


def _sync_folders(account_id: int) -> bool:
    worked = False
    # a loss asks for a further pass: what is held waits for that one
    asked = AccountSync.objects.values_list("requested", flat=True).get(account_id=account_id)
    behind = SyncState.objects.filter(account_id=account_id, folder__selectable=True, looked__lt=asked)
    for folder_id in list(behind.order_by("folder__path").values_list("folder_id", flat=True)):
        lease = claim_folder(folder_id)
        if lease is None:
            continue
        try:
            report = folder_sync.sync_folder(lease)
        except LeaseLost:
            schedule.request_pass(account_id=account_id)
            continue
        except MailError as error:
            retry = error.retry_after if isinstance(error, Transient) else None
            schedule.release_failed(lease, error, retry_after=retry)
            if isinstance(error, FolderGone):
                # only the list of folders tells what became of it
                schedule.request_pass(account_id=account_id)
            raise
        schedule.release_folder(lease, provable=report.provable, more=False)
        worked = True
    holding.settle(account_id)
    return worked
