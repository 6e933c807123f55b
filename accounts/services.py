"""Storing accounts and changing whether they are mirrored; the directory is kept in step.

Connecting an account (which logs in to prove it) and removing one (which deletes mail) are `sync.services`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.changelog.logged import next_id
from accounts.changelog.recorder import lock_account
from accounts.models import Account, Application, Credential, GrantDirectory, Status, TransactionHead
from accounts.secrets import needs_reseal, open_sealed, seal
from project.shards import alias_at_hand, on_shard

#: What a credential is sealed for: a sealed value of another context does not open.
CREDENTIAL = "credential"
#: How often storing an account begins again where another changes the same one at this moment.
TRIES = 5


class AccountNotFound(LookupError):
    """No such account, or not this application's."""


class AccountChanged(RuntimeError):
    """Another changed the account since the caller read it: read it again."""


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What connecting found to be true, ready to store."""

    application_id: int
    email: str
    provider: str
    settings: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)
    name: str = ""
    state: str = ""


def default_application(name: str = "default") -> Application:
    """Return the application called `name`, made when new."""
    return Application.objects.get_or_create(name=name)[0]


def store_account(new: NewAccount) -> int:
    """Store a proven account, or new credentials of one already connected; return its id.

    The same email in the same application is the same account: it becomes valid again and keeps its mail. Raises
    AccountChanged where others connect and remove the same address at this very moment, again and again.
    """
    for _ in range(TRIES):
        grant = _claim_address(new)
        with on_shard(grant.pk):
            try:
                return _restore(grant.pk, new) if _exists(grant.pk) else _create(grant, new)
            except (Account.DoesNotExist, IntegrityError):
                # removed, or made, by another since we looked
                stale = not _exists(grant.pk) and TransactionHead.objects.filter(pk=grant.pk).exists()
        if stale:
            # an account that is gone has left its place in the directory for a moment
            GrantDirectory.objects.filter(pk=grant.pk).delete()
    raise AccountChanged(f"{new.email} is being connected and removed by others at this moment; try again")


def _claim_address(new: NewAccount) -> GrantDirectory:
    """Return the directory's row of this address, made when new: before its account, so that no two are made."""
    named: dict[str, Any] = {"application_id": new.application_id, "email": new.email.lower()}
    known = GrantDirectory.objects.filter(**named).first()
    if known is not None:
        return known
    with on_shard(0) as alias:
        made = {"account_id": next_id(Account, alias), "provider": new.provider}
    return GrantDirectory.objects.get_or_create(**named, defaults=made)[0]


def _exists(account_id: int) -> bool:
    return Account.objects.filter(pk=account_id).exists()


def _create(grant: GrantDirectory, new: NewAccount) -> int:
    """Make the account that the directory already names. Raises IntegrityError where it was made, or ended, before."""
    now = timezone.now()
    # what a crash left long ago counts as young again: the sweep leaves it alone
    GrantDirectory.objects.filter(pk=grant.pk).update(created_at=now, updated_at=now)
    account = Account(
        pk=grant.pk,
        application_id=new.application_id,
        email=new.email,
        name=new.name,
        provider=new.provider,
        settings=new.settings,
        state=new.state,
        created_at=now,
        updated_at=now,
    )
    with transaction.atomic(using=alias_at_hand(grant.pk)):
        account.save()
        Credential.objects.create(account=account, sealed=_sealed(new.secrets))
    return account.pk


def _restore(account_id: int, new: NewAccount) -> int:
    with lock_account(account_id):
        account = Account.objects.get(pk=account_id)
        account.settings = new.settings
        account.status, account.status_reason = Status.VALID, ""
        account.name = new.name or account.name
        account.state = new.state or account.state
        account.updated_at = timezone.now()
        account.save()
        _keep_secrets(account_id, new.secrets)
    _note_in_directory(account_id, Status.VALID)
    return account_id


def change_settings(*, account_id: int, before: dict[str, Any], new: NewAccount, proven: bool) -> None:
    """Store new settings and secrets of an account whose settings are still `before`.

    `proven`: the login was tried, so an invalid account is valid again; a paused one stays paused. Raises
    AccountNotFound, AccountChanged.
    """
    with on_shard(account_id):
        if not _exists(account_id):
            raise AccountNotFound(f"no account {account_id}")
        with lock_account(account_id):
            account = Account.objects.filter(pk=account_id).first()
            if account is None:
                raise AccountNotFound(f"no account {account_id}")
            if account.settings != before:
                raise AccountChanged("the settings were changed meanwhile; read them and try again")
            if proven and account.status == Status.INVALID:
                account.status, account.status_reason = Status.VALID, ""
            account.settings, account.updated_at = new.settings, timezone.now()
            account.save()
            _keep_secrets(account_id, new.secrets)
    _note_in_directory(account_id, Status(account.status))


def _keep_secrets(account_id: int, secrets: dict[str, str]) -> None:
    Credential.objects.update_or_create(
        account_id=account_id, defaults={"sealed": _sealed(secrets), "updated_at": timezone.now()}
    )


def _sealed(secrets: dict[str, str]) -> bytes:
    return seal(json.dumps(secrets), context=CREDENTIAL)


def read_secrets(account_id: int) -> dict[str, str]:
    """Open the secrets of an account. Raises AccountNotFound."""
    sealed = Credential.objects.filter(account_id=account_id).values_list("sealed", flat=True).first()
    if sealed is None:
        raise AccountNotFound(f"no credential of account {account_id}")
    secrets: dict[str, str] = json.loads(open_sealed(bytes(sealed), context=CREDENTIAL))
    return secrets


def pause_account(*, account_id: int) -> bool:
    """Stop mirroring; what is mirrored stays. False: it was paused already. Raises AccountNotFound."""
    return _set_status(account_id, Status.PAUSED, "")


def resume_account(*, account_id: int) -> bool:
    """Mirror again. False: it was valid already. Raises AccountNotFound."""
    return _set_status(account_id, Status.VALID, "")


def invalidate_account(*, account_id: int, reason: str) -> bool:
    """Stop mirroring until the owner acts; `reason` is for people and holds no secret. False: nothing changed."""
    return _set_status(account_id, Status.INVALID, reason)


def _set_status(account_id: int, status: Status, reason: str) -> bool:
    with on_shard(account_id):
        if not Account.objects.filter(pk=account_id).exists():
            raise AccountNotFound(f"no account {account_id}")
        with lock_account(account_id):
            account = Account.objects.get(pk=account_id)
            if account.status == status or (account.status == Status.PAUSED and status == Status.INVALID):
                return False
            account.status, account.status_reason, account.updated_at = status, reason, timezone.now()
            account.save()
    _note_in_directory(account_id, status)
    return True


def _note_in_directory(account_id: int, status: Status) -> None:
    GrantDirectory.objects.filter(pk=account_id).update(status=status, updated_at=timezone.now())


def find_grants(text: str, *, application: str | None = None) -> list[GrantDirectory]:
    """Find accounts by grant id or email, for commands and staff; several applications may have one email."""
    grants = GrantDirectory.objects.select_related("application")
    if application is not None:
        grants = grants.filter(application__name=application)
    if text.isdecimal():
        return list(grants.filter(pk=int(text)))
    return list(grants.filter(email=text.lower()))


def reseal_credentials() -> tuple[int, int]:
    """Seal every secret of the shard at hand with the newest key; return how many were read and how many changed."""
    read = changed = 0
    for credential in Credential.objects.iterator(chunk_size=500):
        read += 1
        if needs_reseal(bytes(credential.sealed)):
            opened = open_sealed(bytes(credential.sealed), context=CREDENTIAL)
            # compare and swap: new credentials may arrive meanwhile
            mine = Credential.objects.filter(pk=credential.pk, sealed=credential.sealed)
            changed += mine.update(sealed=seal(opened, context=CREDENTIAL))
    return read, changed
