"""Removing an account with all its mail."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.changelog.recorder import allow_unlogged, lock_account
from accounts.models import Account, Credential, GrantDirectory, Status
from accounts.services import AccountNotFound
from project.shards import on_shard
from sync.models import (
    AccountSync,
    Blob,
    Body,
    Folder,
    FolderMessage,
    Message,
    Part,
    RememberedMessage,
    SyncState,
    Thread,
    ThreadKey,
)

#: Rows deleted in one transaction.
SLICE = 2000
#: A directory row without its account is younger than this: its account may be on its way.
ON_ITS_WAY = timedelta(minutes=5)
#: Children first.
_MAIL: tuple[Any, ...] = (
    Part, Body, FolderMessage, ThreadKey, Blob, RememberedMessage, Message, Thread, SyncState, Folder
)  # fmt: skip


def disconnect_account(*, account_id: int) -> None:
    """Remove an account: one `grant.deleted` in its log, then its mail in slices. Raises AccountNotFound.

    The log outlives the account until it is pruned. Interrupted, the sweep of the directory goes on.
    """
    with on_shard(account_id):
        if not Account.objects.filter(pk=account_id).exists():
            raise AccountNotFound(f"no account {account_id}")
        # nobody may take up new work; a worker in the middle of a batch loses its lease with SyncState
        Account.objects.filter(pk=account_id).exclude(status=Status.PAUSED).update(status=Status.PAUSED)
        _delete_mail(account_id)
        with lock_account(account_id):
            Credential.objects.filter(account_id=account_id).delete()
            AccountSync.objects.filter(account_id=account_id).delete()
            Account.objects.get(pk=account_id).delete()
    GrantDirectory.objects.filter(pk=account_id).delete()


def _delete_mail(account_id: int) -> None:
    for model in _MAIL:
        key = "folder_id" if model is SyncState else "message_id" if model is Body else "pk"
        while True:
            with transaction.atomic(using=_alias(model)), allow_unlogged("account deleted"):
                rows = model.objects.filter(account_id=account_id)
                keys = list(rows.values_list(key, flat=True)[:SLICE])
                if not keys:
                    break
                mine = model._base_manager.filter(account_id=account_id, **{f"{key}__in": keys})
                mine._raw_delete(_alias(model))


def _alias(model: Any) -> str:
    from django.db import router

    return router.db_for_write(model)


def sweep_directory() -> int:
    """Mend what a crash left between the directory and the accounts; return how many rows were mended."""
    mended = 0
    for grant in GrantDirectory.objects.iterator(chunk_size=500):
        with on_shard(grant.account_id):
            account = Account.objects.filter(pk=grant.account_id).first()
        if account is None:
            if grant.created_at < timezone.now() - ON_ITS_WAY:
                grant.delete()
                mended += 1
        elif account.status != grant.status:
            mended += GrantDirectory.objects.filter(pk=grant.pk).update(status=account.status)
    return mended
