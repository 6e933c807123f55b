"""Who works on what: leases taken by compare-and-swap, confirmed at each commit.

A lease is a token and an expiry on AccountSync or SyncState. All times are the database's own, so that the clocks of
workers do not matter.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least

from accounts.models import Status
from project.postgres.away import patiently
from sync.models import AccountSync, SyncState

#: How long a lease holds unless confirmed again; a dead worker's folder is free after that.
LEASE = timedelta(seconds=60)
#: A task that was queued and not claimed within this is taken for lost.
QUEUE_PATIENCE = timedelta(seconds=60)


class ClockTimestamp(models.Func):
    """The database's clock now, unlike NOW() also within a transaction."""

    template = "clock_timestamp()"
    output_field = models.DateTimeField()


class LeaseLost(Exception):
    """Another worker has the work, or the lease ran out: whatever was found must not be written."""


#: Who holds the leases of this process: the first half of their tokens. Chance, until a worker has told its name.
_holder = secrets.token_bytes(8)


def hold_leases_as(worker: str) -> None:
    """Let this process, a worker of that name, hold its leases as any other of that name before it and after it."""
    global _holder
    _holder = hashlib.sha256(f"{worker} {settings.DATA_DIR}".encode()).digest()[:8]


def new_token() -> uuid.UUID:
    """Return a token of this process that no lease has had."""
    return uuid.UUID(bytes=_holder + secrets.token_bytes(8))


def free_own_leases() -> int:
    """Free what a worker of our name holds, in the shard at hand, and make it due; return how much that was.

    For a worker that starts: it works on nothing yet. Should another of that name live, its next commit is refused.
    """
    low, high = (uuid.UUID(bytes=_holder + end * 8) for end in (b"\x00", b"\xff"))
    freed = 0
    for rows, due in ((AccountSync.objects.all(), "next_look_at"), (SyncState.objects.all(), "next_sync_at")):
        ours = rows.filter(lease_token__gte=low, lease_token__lte=high)
        # never where it is None: the account is paused
        ours.exclude(**{due: None}).update(**{due: ClockTimestamp()})
        freed += ours.update(lease_token=None, lease_until=None)
    return freed


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write what a look at one folder, or at one account as a whole, found."""

    account_id: int
    #: None: of the account as a whole.
    folder_id: int | None
    token: uuid.UUID = field(default_factory=new_token)

    @property
    def folder(self) -> int:
        """The folder's id, where the lease is of a folder."""
        if self.folder_id is None:
            raise TypeError(f"the lease of account {self.account_id} is of no folder")
        return self.folder_id


def _rows(account_id: int, folder_id: int | None) -> models.QuerySet[Any]:
    if folder_id is None:
        return AccountSync.objects.filter(account_id=account_id)
    return SyncState.objects.filter(folder_id=folder_id)


def progress_of(lease: Lease) -> AccountSync | SyncState | None:
    """Return the row that the lease is of; None: it was removed."""
    found: AccountSync | SyncState | None = _rows(lease.account_id, lease.folder_id).first()
    return found


def claim_folder(folder_id: int) -> Lease | None:
    """Take the lease of a folder; None: another worker has it, it is gone, or its account is not to be mirrored.

    Refused while another works, the folder becomes due again soon, so that what was queued for is not lost. Waits for a
    database that is away, because whoever was queued is not queued again for a minute.
    """

    def claim() -> Lease | None:
        account_id = SyncState.objects.filter(folder_id=folder_id).values_list("account_id", flat=True).first()
        return None if account_id is None else _claim(Lease(account_id, folder_id))

    return patiently(claim, seconds=QUEUE_PATIENCE.total_seconds())


def claim_account(account_id: int) -> Lease | None:
    """Take the lease of the looks at an account as a whole; None as for `claim_folder`."""
    return patiently(lambda: _claim(Lease(account_id, None)), seconds=QUEUE_PATIENCE.total_seconds())


def _claim(lease: Lease) -> Lease | None:
    now = ClockTimestamp()
    rows = _rows(lease.account_id, lease.folder_id)
    mirrored = rows.filter(account__status=Status.VALID)
    if lease.folder_id is not None:
        mirrored = mirrored.filter(folder__selectable=True)
    free = mirrored.filter(Q(lease_until=None) | Q(lease_until__lt=now))
    if free.update(lease_token=lease.token, lease_until=now + LEASE, queued_at=None) == 1:
        return lease
    soon = "next_look_at" if lease.folder_id is None else "next_sync_at"
    mirrored.update(queued_at=None, **{soon: Least(F(soon), now + timedelta(seconds=2))})
    return None


def confirm_lease(lease: Lease) -> None:
    """Hold the lease for another minute; raise LeaseLost where it is not ours any more.

    Call first inside `lock_account`, before anything is written: the row stays locked to the commit, so nobody takes
    the lease in between.
    """
    now = ClockTimestamp()
    ours = _rows(lease.account_id, lease.folder_id).filter(lease_token=lease.token, lease_until__gt=now)
    if ours.update(lease_until=now + LEASE) != 1:
        raise LeaseLost(f"the lease of {_name(lease)} ran out")


def release(lease: Lease, **columns: Any) -> bool:
    """Let the lease go, setting `columns` of its row in the same statement; False: it was lost, nothing is set.

    Waits for a database that is away: the work would not be free before the lease has run out.
    """
    ours = _rows(lease.account_id, lease.folder_id).filter(lease_token=lease.token)
    let_go = partial(ours.update, lease_token=None, lease_until=None, **columns)
    return bool(patiently(let_go, seconds=LEASE.total_seconds()))


def _name(lease: Lease) -> str:
    return f"account {lease.account_id}" if lease.folder_id is None else f"folder {lease.folder_id}"
