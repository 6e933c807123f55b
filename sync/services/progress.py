"""How far a mirror is: `G/sync` of api.md 12.2, for the API, the admin and commands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.utils import timezone

from accounts.models import Account, Status
from sync.models import AccountSync, SyncState

State = Literal["queued", "syncing", "idle", "paused", "invalid_credentials", "error"]


@dataclass(frozen=True, slots=True)
class FolderProgress:
    """One folder of `SyncProgress`."""

    id: int
    name: str
    path: str
    state: State
    messages_known: int
    messages_mirrored: int
    last_synced_at: datetime | None
    uidvalidity: int | None
    push: bool
    last_error: str


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """The fields of api.md 12.2; `progress` from 0 to 1, `eta_seconds` None where it cannot be told."""

    state: State
    requested: int
    completed: int
    messages_known: int
    messages_mirrored: int
    progress: float
    eta_seconds: float | None
    last_synced_at: datetime | None
    last_error: str
    folders: tuple[FolderProgress, ...]


def sync_progress(account_id: int) -> SyncProgress:
    """Tell how far the mirror of an account is; call inside `on_shard(account_id)`."""
    account = Account.objects.get(pk=account_id)
    look = AccountSync.objects.filter(account_id=account_id).first() or AccountSync(account_id=account_id)
    rows = SyncState.objects.filter(account_id=account_id, folder__selectable=True).select_related("folder")
    folders = tuple(_folder(account, row) for row in rows.order_by("folder__path"))
    known = sum(one.messages_known for one in folders)
    mirrored = sum(min(one.messages_mirrored, one.messages_known) for one in folders)
    finished = look.last_synced_at is not None
    progress = 1.0 if finished and mirrored >= known else (mirrored / known if known else 0.0)
    return SyncProgress(
        state=_state(account, look, folders),
        requested=look.requested,
        completed=look.completed,
        messages_known=known,
        messages_mirrored=mirrored,
        progress=round(progress, 4),
        eta_seconds=_eta(account, known, mirrored),
        last_synced_at=look.last_synced_at,
        last_error=account.status_reason or look.last_error or next((one.last_error for one in folders), ""),
        folders=folders,
    )


def _folder(account: Account, row: SyncState) -> FolderProgress:
    return FolderProgress(
        id=row.pk,
        name=row.folder.name,
        path=row.folder.path,
        state=_folder_state(account, row),
        messages_known=row.messages_known,
        messages_mirrored=row.folder.total_count,
        last_synced_at=row.looked_at,
        uidvalidity=(row.cursor or {}).get("uidvalidity"),
        push=False,
        last_error=row.last_error,
    )


def _folder_state(account: Account, row: SyncState) -> State:
    if account.status == Status.PAUSED:
        return "paused"
    if account.status == Status.INVALID:
        return "invalid_credentials"
    if row.failures:
        return "error"
    if row.complete:
        return "idle"
    return "queued" if row.cursor is None else "syncing"


def _state(account: Account, look: AccountSync, folders: Iterable[FolderProgress]) -> State:
    if account.status == Status.PAUSED:
        return "paused"
    if account.status == Status.INVALID:
        return "invalid_credentials"
    if look.failures or any(one.state == "error" for one in folders):
        return "error"
    if look.listed_at is None:
        return "queued"
    if look.completed < look.requested or any(one.state != "idle" for one in folders):
        return "syncing"
    return "idle"


def _eta(account: Account, known: int, mirrored: int) -> float | None:
    """Seconds to the end of a first mirror, at the rate since the account was connected."""
    if not mirrored or mirrored >= known:
        return None
    elapsed = (timezone.now() - account.created_at).total_seconds()
    return round(elapsed / mirrored * (known - mirrored), 1)


def sync_states(account_ids: Iterable[int]) -> dict[int, State]:
    """The state words of several accounts of the shard at hand, for lists of grants."""
    ids = list(account_ids)
    looks = {look.pk: look for look in AccountSync.objects.filter(account_id__in=ids)}
    rows = SyncState.objects.filter(account_id__in=ids, folder__selectable=True).select_related("folder")
    accounts = {account.pk: account for account in Account.objects.filter(pk__in=ids)}
    folders: dict[int, list[FolderProgress]] = {pk: [] for pk in ids}
    for row in rows:
        folders[row.account_id].append(_folder(accounts[row.account_id], row))
    return {
        pk: _state(account, looks.get(pk) or AccountSync(account_id=pk), folders[pk])
        for pk, account in accounts.items()
    }
