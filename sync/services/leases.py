"""Who works on what: leases taken by compare-and-swap, confirmed at each commit.

A lease is a token and an expiry on AccountSync or SyncState. All times are the database's own, so that the clocks of
workers do not matter.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Least

from accounts.models import Status
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


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write what a look at one folder, or at one account as a whole, found."""

    account_id: int
    #: None: of the account as a whole.
    folder_id: int | None
    token: uuid.UUID = field(default_factory=uuid.uuid4)

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


def claim_folder(folder_id: int) -> Lease | None:
    """Take the lease of a folder; None: another worker has it, it is gone, or its account is not to be mirrored.

    Refused while another works, the folder becomes due again soon, so that what was queued for is not lost.
    """
    account_id = SyncState.objects.filter(folder_id=folder_id).values_list("account_id", flat=True).first()
    return None if account_id is None else _claim(Lease(account_id, folder_id))


def claim_account(account_id: int) -> Lease | None:
    """Take the lease of the looks at an account as a whole; None as for `claim_folder`."""
    return _claim(Lease(account_id, None))


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
    """Let the lease go, setting `columns` of its row in the same statement; False: it was lost, nothing is set."""
    ours = _rows(lease.account_id, lease.folder_id).filter(lease_token=lease.token)
    return bool(ours.update(lease_token=None, lease_until=None, **columns))


def _name(lease: Lease) -> str:
    return f"account {lease.account_id}" if lease.folder_id is None else f"folder {lease.folder_id}"
