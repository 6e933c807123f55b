"""Grants: listed, found, connected, removed; how far their mirror is."""

from __future__ import annotations

import json
import socket
import time
from datetime import timedelta
from typing import Any

import pytest

from accounts.models import Account, Application, GrantDirectory, Status
from accounts.services import pause_account
from project.shards import on_shard
from sync.models import AccountSync, Folder, Message, SyncState
from sync.services.removal import delete_mail
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail, make_mailroom
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.django_db(databases=ALIASES)


def connect(api: Api, body: dict[str, Any], status: int) -> dict[str, Any]:
    data = json.dumps(body).encode()
    return api.json("POST", "/v3/connect/custom", status=status, data=data, content_type="application/json")


def login(**settings: Any) -> dict[str, Any]:
    given = {"imap_username": "ada@example.org", "imap_password": "secret word", "imap_host": "127.0.0.1"}
    return {"provider": "imap", "settings": {**given, **settings}}


def test_grants_of_every_shard_are_listed_newest_first(api: Api, application: Application) -> None:
    rooms = [make_mailroom(application, f"{n}@example.org", shard=n % 2) for n in range(12)]
    wanted = [str(room.id) for room in rooms][::-1]
    first = api.get("/v3/grants")
    assert (first["limit"], first["offset"]) == (10, 0)
    assert "next_cursor" not in first
    assert [one["id"] for one in first["data"]] == wanted[:10]
    rest = api.get("/v3/grants", {"limit": 5, "offset": 10})
    assert ([one["id"] for one in rest["data"]], rest["limit"], rest["offset"]) == (wanted[10:], 5, 10)
    assert [one["id"] for one in api.get("/v3/grants", {"limit": 200, "order_by": "asc"})["data"]] == wanted[::-1]
    assert api.get("/v3/grants", {"offset": 12})["data"] == []


def test_grants_are_filtered(api: Api, application: Application) -> None:
    one, two = (make_mailroom(application, email) for email in ("One@example.org", "two@example.org"))
    pause_account(account_id=two.id)
    GrantDirectory.objects.filter(pk=two.id).update(created_at=EPOCH, updated_at=EPOCH + timedelta(days=9999))
    moment = int(EPOCH.timestamp())

    def found(**query: Any) -> list[str]:
        return [grant["id"] for grant in api.get("/v3/grants", query)["data"]]

    assert found(email="one@Example.org") == [str(one.id)]
    assert found(grant_status="valid") == [str(one.id)]
    assert found(grant_status="paused") == [str(two.id)]
    assert found(provider="imap") == [str(one.id), str(two.id)]
    assert found(provider="google") == []
    assert found(since=moment + 1) == [str(one.id)]
    assert found(since=moment) == [str(one.id), str(two.id)]
    assert found(before=moment + 1) == [str(two.id)]
    assert found(sort_by="updated_at") == [str(two.id), str(one.id)]
    for query in ({"sort_by": "email"}, {"order_by": "up"}, {"grant_status": "good"}, {"offset": -1}, {"limit": 201}):
        api.error("/v3/grants", query, status=400)


def test_a_grant_shows_no_secret_and_how_far_it_is(api: Api, room: Mailroom) -> None:
    shown = api.get(room.path)["data"]
    assert (shown["email"], shown["provider"], shown["grant_status"]) == ("ada@example.org", "imap", "valid")
    assert shown["settings"] == {"imap_host": "mail.example.org"}
    assert (shown["scope"], shown["sync_state"]) == ([], "idle")
    pause_account(account_id=room.id)
    shown = api.get(room.path)["data"]
    assert (shown["grant_status"], shown["sync_state"]) == ("paused", "paused")


def test_a_removed_grant_is_gone_with_its_mail(api: Api, room: Mailroom) -> None:
    room.add(mail())
    body = api.json("DELETE", room.path, status=200)
    assert set(body) == {"request_id"}
    for path in (room.path, f"{room.path}/messages", f"{room.path}/changes", "/v3/grants/ada@example.org"):
        api.error(path, status=404)
    assert api.get("/v3/grants")["data"] == []
    delete_mail(account_id=room.id)
    with on_shard(room.id):
        assert not Message.objects.exists()
        assert not Folder.objects.exists()
    api.error(room.path, status=404, method="DELETE")


def test_the_application_of_the_key_is_shown(api: Api, application: Application) -> None:
    shown = api.get("/v3/applications")["data"]
    assert (shown["application_id"], shown["branding"]) == (str(application.pk), {"name": "default"})


def test_sync_tells_how_far_each_folder_is(api: Api, room: Mailroom) -> None:
    room.add(mail(), "INBOX")
    room.add(mail("two"), "Sent")
    with on_shard(room.id):
        SyncState.objects.filter(folder=room.folder("Sent")).update(
            complete=False, messages_known=4, cursor={"uidvalidity": 7}
        )
        SyncState.objects.filter(folder=room.folder("INBOX")).update(messages_known=1)
        AccountSync.objects.update(last_synced_at=EPOCH + timedelta(milliseconds=250))
    told = api.get(f"{room.path}/sync")["data"]
    assert (told["state"], told["requested"], told["completed"]) == ("syncing", 0, 0)
    assert (told["messages_known"], told["messages_mirrored"], told["progress"]) == (5, 2, 0.4)
    assert told["last_synced_at"] == EPOCH.timestamp() + 0.25
    sent = next(one for one in told["folders"] if one["name"] == "Sent")
    assert (sent["state"], sent["messages_known"], sent["uidvalidity"]) == ("syncing", 4, 7)


def test_each_request_for_a_pass_gets_the_next_number(api: Api, room: Mailroom) -> None:
    numbers = [api.json("POST", f"{room.path}/sync", status=202)["data"]["requested"] for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert api.get(f"{room.path}/sync")["data"]["requested"] == 3


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "provider"),
        ({"provider": "google", "settings": {}}, "provider"),
        ({"provider": "memory", "settings": {}}, "provider"),
        ({"provider": 7, "settings": {}}, "provider"),
        ({"provider": "imap"}, "settings"),
        ({"provider": "imap", "settings": []}, "settings"),
        (login(imap_username="ada"), "email"),
        (login(email="not an address"), "email"),
        (login(imap_password=""), "imap_password"),
        (login(imap_password=None), "imap_password"),
        (login(imap_port=0), "imap_port"),
        (login(imap_port=True), "imap_port"),
        (login(imap_port="x"), "imap_port"),
        (login(smtp_port=70000), "smtp_port"),
        (login(imap_security="ssl"), "imap_security"),
        (login(smtp_security="ssl"), "smtp_security"),
        (login(verify_certificates="no"), "verify_certificates"),
        (login(sync_days=-1), "sync_days"),
        (login(exclude_folders="Spam"), "exclude_folders"),
        (login(exclude_folders=[1]), "exclude_folders"),
        (login(imap_host="a\0b"), "imap_host"),
        (login(imap_username="\ud800@x"), "imap_username"),
        (login(imap_host="x" * 2000), "imap_host"),
    ],
)
def test_settings_that_cannot_be_are_named(api: Api, body: dict[str, Any], named: str) -> None:
    error = connect(api, body, 400)["error"]
    assert (error["type"], named in error["message"]) == ("invalid_request_error", True), error
    assert not GrantDirectory.objects.exists()


def test_a_refused_port_is_told_with_its_stage_and_nothing_is_stored(api: Api) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        began = time.monotonic()
        error = connect(api, login(imap_port=unheard.getsockname()[1], imap_security="none"), 400)["error"]
    assert time.monotonic() - began < 20
    assert (error["type"], error["provider_error"]["stage"]) == ("provider_error", "connect")
    assert "secret word" not in str(error)
    assert not GrantDirectory.objects.exists()


def test_an_unknown_host_is_told_with_its_stage(api: Api) -> None:
    error = connect(api, login(imap_host="no-such-host.invalid"), 400)["error"]
    assert (error["type"], error["provider_error"]["stage"]) == ("provider_error", "resolve")


@pytest.mark.server("dovecot")
@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_a_mailbox_is_connected_and_connected_again(api: Api, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    body = login(
        email="Ada@example.org", imap_username=user.username, imap_password=user.password,
        imap_host=user.host, imap_port=user.port, imap_security="none",
    )  # fmt: skip
    grant = connect(api, {**body, "state": "mine"}, 201)["data"]
    assert (grant["email"], grant["state"], grant["grant_status"]) == ("Ada@example.org", "mine", "valid")
    assert user.password not in json.dumps(grant)
    assert grant["settings"]["imap_host"] == user.host
    with on_shard(int(grant["id"])):
        Account.objects.update(status=Status.INVALID)
    again = connect(api, body, 201)["data"]
    assert (again["id"], again["grant_status"]) == (grant["id"], "valid")
    wrong = connect(api, {**body, "settings": {**body["settings"], "imap_password": "wrong"}}, 400)["error"]
    assert wrong["provider_error"]["stage"] == "login"
    assert api.get("/v3/grants")["data"][0]["id"] == grant["id"]
