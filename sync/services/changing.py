"""Changing the settings of a connected account: what concerns a login is proven by logging in, as on connecting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal

from accounts.models import Account, Status
from accounts.services import AccountNotFound, change_settings, read_secrets
from project.shards import on_shard
from sync.services.connecting import ConnectRequest, InvalidSettings, new_account, prove, start_mirroring

#: Settings that no login depends on.
OPTIONS = frozenset({"sync_days", "exclude_folders", "headers_first"})


def change_account(*, account_id: int, changes: Mapping[str, Any]) -> None:
    """Change settings (fields of ConnectRequest by name); those that are not named stay.

    Where a login is concerned both are proven first, and an invalid account becomes valid. Raises InvalidSettings,
    AccountNotFound, AccountChanged, or a MailError with its stage within 20 s; nothing is stored then.
    """
    with on_shard(account_id):
        account = Account.objects.filter(pk=account_id).first()
        if account is None:
            raise AccountNotFound(f"no account {account_id}")
        before = _stored(account)
    after = _merged(before, changes)
    proven = bool(changes.keys() - OPTIONS)
    if proven:
        after = prove(after)
    elif after == before:
        return
    new = new_account(account.application_id, after)
    change_settings(account_id=account_id, before=account.settings, new=new, proven=proven)
    if account.status != Status.PAUSED:
        start_mirroring(account_id)


def _stored(account: Account) -> ConnectRequest:
    """Return an account as what would connect it anew."""
    known = {one.name for one in fields(ConnectRequest)}
    given = {name: value for name, value in account.settings.items() if name in known}
    given["exclude_folders"] = tuple(given.get("exclude_folders", ()))
    secrets = {name: value for name, value in read_secrets(account.pk).items() if name in known}
    return ConnectRequest(provider=account.provider, **{"email": account.email, **given, **secrets})


def _merged(before: ConnectRequest, changes: Mapping[str, Any]) -> ConnectRequest:
    """Return what the account would be connected with; what was derived from a changed setting is derived again."""
    if (changes.get("email") or before.email).lower() != before.email.lower():
        raise InvalidSettings("email", "a grant keeps its address; connect another as a grant of its own")
    derived: dict[str, Any] = {}
    for server in ("imap", "smtp"):
        derived |= _derived_anew(server, changes)
    # where one word was given for both servers, the new one is for both as well
    for secret in ("username", "password"):
        same = getattr(before, f"smtp_{secret}") == getattr(before, f"imap_{secret}")
        if same and f"imap_{secret}" in changes:
            derived[f"smtp_{secret}"] = ""
    return replace(before, **{**derived, **changes, "email": before.email})


def _derived_anew(server: Literal["imap", "smtp"], changes: Mapping[str, Any]) -> dict[str, None]:
    """Return what follows from other settings: the security from the port, both from a host that is to be found."""
    host, port, security = f"{server}_host", f"{server}_port", f"{server}_security"
    if host in changes and changes[host] is None:
        return {port: None, security: None}
    return {security: None} if port in changes else {}
