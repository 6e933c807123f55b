"""Changing the settings of a grant: proven by logging in, and nothing is stored when that fails."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts.models import Account, Application, GrantDirectory, Status, Transaction
from accounts.services import AccountChanged, NewAccount, change_settings, pause_account, read_secrets, store_account
from project.shards import on_shard
from sync.models import AccountSync
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import MailUser

pytestmark = pytest.mark.django_db(databases=ALIASES)


def change(api: Api, grant: int, body: Any, status: int = 200, method: str = "PATCH") -> dict[str, Any]:
    data = json.dumps(body).encode()
    return api.json(method, f"/v3/grants/{grant}", status=status, data=data, content_type="application/json")


def stored(application: Application, **settings: Any) -> int:
    """Store an account as connecting does, without a server."""
    given = {
        "email": "Ada@example.org", "imap_username": "ada", "imap_host": "127.0.0.1", "imap_port": 143,
        "imap_security": "none", "smtp_username": "ada", "smtp_port": 465, "smtp_security": "tls",
        "verify_certificates": True, "exclude_folders": [], "headers_first": False, **settings,
    }  # fmt: skip
    secrets = {"imap_password": "old", "smtp_password": "old"}
    grant = store_account(NewAccount(application.pk, "Ada@example.org", "imap", given, secrets))
    with on_shard(grant):
        AccountSync.objects.create(account_id=grant, completed=3, requested=3)
    return grant


def at(user: MailUser) -> dict[str, Any]:
    return {"imap_username": user.username, "imap_host": user.host, "imap_port": user.port, "imap_security": "none"}


def updates(grant: int) -> int:
    """How often the log says that the grant was updated."""
    with on_shard(grant):
        return Transaction.objects.filter(account_id=grant, object_type=8, kind=2).count()


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_options_change_without_a_login(api: Api, application: Application, method: str) -> None:
    grant = stored(application)
    body = {"settings": {"sync_days": 30, "exclude_folders": ["Junk"]}, "scope": ["any"]}
    shown = change(api, grant, body, method=method)["data"]
    assert (shown["settings"]["sync_days"], shown["settings"]["exclude_folders"]) == (30, ["Junk"])
    assert (shown["settings"]["imap_username"], shown["scope"]) == ("ada", [])
    assert updates(grant) == 1
    with on_shard(grant):
        assert AccountSync.objects.get(pk=grant).requested == 4
        assert read_secrets(grant) == {"imap_password": "old", "smtp_password": "old"}
    shown = change(api, grant, {"settings": {"sync_days": None, "exclude_folders": None}}, method=method)["data"]
    assert "sync_days" not in shown["settings"]
    assert shown["settings"]["exclude_folders"] == []
    # what changes nothing is no change
    change(api, grant, {"settings": {"headers_first": False}}, method=method)
    change(api, grant, {}, method=method)
    assert updates(grant) == 2


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "object"),
        ({"settings": []}, "settings"),
        ({"scope": "mail"}, "scope"),
        ({"scope": [1]}, "scope"),
        ({"settings": {"imap_port": 0}}, "imap_port"),
        ({"settings": {"imap_security": "ssl"}}, "imap_security"),
        ({"settings": {"sync_days": "many"}}, "sync_days"),
        ({"settings": {"imap_password": ""}}, "imap_password"),
        ({"settings": {"imap_password": None}}, "imap_password"),
        ({"settings": {"email": "other@example.org"}}, "email"),
    ],
)
def test_settings_that_cannot_be_are_named(api: Api, application: Application, body: Any, named: str) -> None:
    grant = stored(application)
    assert named in change(api, grant, body, 400)["error"]["message"]
    assert updates(grant) == 0


@pytest.mark.server("dovecot")
def test_a_new_password_is_proven_and_makes_an_invalid_grant_valid(
    api: Api, application: Application, dovecot: Dovecot
) -> None:
    user = dovecot.new_user()
    grant = stored(application, **at(user))
    with on_shard(grant):
        Account.objects.filter(pk=grant).update(status=Status.INVALID, status_reason="refused")
    before = updates(grant)
    refused = change(api, grant, {"settings": {"imap_password": "wrong"}}, 400)["error"]
    assert (refused["type"], refused["provider_error"]["stage"]) == ("provider_error", "login")
    assert updates(grant) == before
    with on_shard(grant):
        assert read_secrets(grant)["imap_password"] == "old"
    answer = change(api, grant, {"settings": {"imap_password": user.password}})
    assert answer["data"]["grant_status"] == "valid"
    assert user.password not in json.dumps(answer)
    assert GrantDirectory.objects.get(pk=grant).status == "valid"
    assert updates(grant) == before + 1
    with on_shard(grant):
        # one word was given for both servers
        assert read_secrets(grant) == {"imap_password": user.password, "smtp_password": user.password}


@pytest.mark.server("dovecot")
def test_a_paused_grant_stays_paused(api: Api, application: Application, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    grant = stored(application, **at(user))
    pause_account(account_id=grant)
    shown = change(api, grant, {"settings": {"imap_password": user.password, "smtp_password": "its own"}})["data"]
    assert shown["grant_status"] == "paused"
    with on_shard(grant):
        assert read_secrets(grant) == {"imap_password": user.password, "smtp_password": "its own"}
        assert AccountSync.objects.get(pk=grant).requested == 3


@pytest.mark.server("dovecot")
def test_another_port_brings_its_own_security(api: Api, application: Application, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    grant = stored(application, **at(user))
    # on any other port TLS is spoken from the first byte, which this one does not
    body = {"settings": {"imap_port": user.port, "imap_password": user.password}}
    assert change(api, grant, body, 400)["error"]["provider_error"]["stage"] == "tls"
    body["settings"]["imap_security"] = "none"
    assert change(api, grant, body)["data"]["settings"]["imap_security"] == "none"


def test_a_change_of_settings_that_another_changed_is_refused(application: Application) -> None:
    grant = stored(application)
    with on_shard(grant):
        settings = Account.objects.get(pk=grant).settings
    new = NewAccount(application.pk, "Ada@example.org", "imap", {**settings, "sync_days": 1}, {})
    change_settings(account_id=grant, before=settings, new=new, proven=False)
    with pytest.raises(AccountChanged):
        change_settings(account_id=grant, before=settings, new=new, proven=False)


def test_a_key_without_the_scope_changes_nothing(application: Application, api: Api) -> None:
    from accounts.keys import create_api_key

    grant = stored(application)
    api.key = create_api_key(application=application, name="reads", scopes=["read", "write"])
    change(api, grant, {"settings": {"sync_days": 3}}, 403)
    assert updates(grant) == 0
