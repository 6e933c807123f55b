"""One account: how it is, what went wrong last, and how each folder is. Secrets are never read here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.models import Account, AuditEntry, Credential, TransactionHead
from project.shards import shard_of
from sync.admin.opened import Opened
from sync.admin.times import ago, due
from sync.models import AccountSync, Folder, SyncState
from sync.services.progress import State, sync_progress

#: Provider -> what its sealed credential is; every other one is told as "sealed".
_CREDENTIAL_KINDS = {"imap": "password"}
#: Entries of the audit log shown with the account.
_AUDITED = 10


@dataclass(frozen=True, slots=True)
class FolderLine:
    """A folder and how its mirror is; `state` None: nothing is mirrored, for it cannot be opened."""

    folder: Folder
    state: State | None
    known: int
    complete: bool
    #: How long ago it was last compared.
    lag: str
    due: str
    busy: bool
    failures: int
    last_error: str
    last_error_at: datetime | None


def folder_lines(account_id: int) -> list[FolderLine]:
    """Return every folder of an account of the shard at hand, by path."""
    states: dict[int, State] = {one.id: one.state for one in sync_progress(account_id).folders}
    rows = {one.pk: one for one in SyncState.objects.filter(account_id=account_id)}
    folders = Folder.objects.filter(account_id=account_id).order_by("path")
    return [_line(folder, rows.get(folder.pk) or SyncState(), states.get(folder.pk)) for folder in folders]


def _line(folder: Folder, row: SyncState, state: State | None) -> FolderLine:
    return FolderLine(
        folder=folder,
        state=state,
        known=row.messages_known,
        complete=row.complete,
        lag="never" if row.looked_at is None else ago(row.looked_at),
        due=due(row.next_sync_at) if state else "–",
        busy=row.lease_until is not None and row.lease_until > timezone.now(),
        failures=row.failures,
        last_error=row.last_error,
        last_error_at=row.last_error_at,
    )


def page(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Show the account."""
    account = Account.objects.filter(pk=opened.id).first()
    if account is None:
        return opened.page(request, "gone", title=opened.grant.email, status=404)
    progress = sync_progress(opened.id)
    look = AccountSync.objects.filter(pk=opened.id).first() or AccountSync(account_id=opened.id)
    head = TransactionHead.objects.filter(pk=opened.id).first() or TransactionHead(account_id=opened.id)
    sealed_at = Credential.objects.filter(pk=opened.id).values_list("updated_at", flat=True).first()
    lines = folder_lines(opened.id)
    return opened.page(
        request,
        "account",
        title=account.email,
        account=account,
        shard=shard_of(opened.id),
        progress=progress,
        percent=f"{progress.progress * 100:.1f}",
        look=look,
        lag="never" if look.last_synced_at is None else f"{ago(look.last_synced_at)} ago",
        next_look=due(look.next_look_at),
        head=head,
        credential_kind=_CREDENTIAL_KINDS.get(account.provider, "sealed"),
        sealed_at=sealed_at,
        settings=sorted(account.settings.items()),
        lines=lines,
        troubled=[line for line in lines if line.last_error],
        audited=_audited(request, opened.id),
    )


def _audited(request: HttpRequest, account_id: int) -> list[AuditEntry]:
    """Return what staff did with the account last, for those who may see it."""
    if not request.user.has_perm("accounts.view_auditentry"):
        return []
    return list(AuditEntry.objects.filter(account_id=account_id).order_by("-at", "-pk")[:_AUDITED])
