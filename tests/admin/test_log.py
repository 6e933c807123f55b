"""Staff read the transaction log of an account, newest first, each change with a link to what it changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.changelog.recorder import lock_account
from accounts.changelog.words import Kind, ObjectType
from accounts.models import Notice
from project.shards import on_shard
from sync.admin import log
from tests.admin.conftest import collected, pages_of
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail

pytestmark = pytest.mark.django_db(databases=ALIASES)


def walk(client: Client, room: Mailroom, **query: Any) -> list[Any]:
    """Follow `older` to the end; return every entry shown."""
    address = f"{pages_of(room)}log/"
    shown: list[Any] = []
    response = client.get(address, query)
    while True:
        assert response.status_code == 200
        shown += response.context["entries"]
        older = response.context["older"]
        if older is None:
            return shown
        response = client.get(address + older)


def test_pages_hold_every_transaction_once_newest_first(boss: Client, room: Mailroom, monkeypatch: Any) -> None:
    monkeypatch.setattr(log, "PAGE", 4)
    for n in range(5):
        room.add(mail(f"{n}"))
    seqs = [entry.row.seq for entry in walk(boss, room)]
    assert len(seqs) > 8
    assert seqs == list(range(len(seqs), 0, -1))


def test_filters_show_one_type_and_kind(boss: Client, room: Mailroom, monkeypatch: Any) -> None:
    for n in range(6):
        room.add(mail(f"{n}"), "Work")
    with on_shard(room.id):
        room.folder("Work").refresh_from_db()
    found = walk(boss, room, type=ObjectType.MESSAGE.value, kind=Kind.CREATED.value)
    assert [(entry.type, entry.kind, entry.name) for entry in found] == [
        ("message", "created", f"{n}") for n in (5, 4, 3, 2, 1, 0)
    ]
    # rare rows are found by going on, a window a page
    monkeypatch.setattr(log, "WINDOW", 3)
    assert [entry.row.seq for entry in walk(boss, room, type=ObjectType.GRANT.value)] == [1]


def test_entries_lead_to_what_they_changed(boss: Client, room: Mailroom) -> None:
    message = room.add(mail("Look at me"))
    with on_shard(room.id), lock_account(room.id):
        Notice(account_id=room.id, name="message.bounce_detected", about_type=ObjectType.MESSAGE).save()
        room.folder("Gone").delete()
    entries = {(entry.type, entry.kind): entry for entry in walk(boss, room)}
    assert entries["message", "created"].name == "Look at me"
    assert entries["notice", "created"].name == "message.bounce_detected"
    assert entries["folder", "deleted"].url is None
    for shown in (entries["message", "created"], entries["thread", "created"], entries["grant", "created"]):
        response = boss.get(shown.url)
        assert response.status_code == 200
        assert "Look at me" in response.content.decode() or shown.type == "grant"
    assert entries["message", "created"].url == f"{pages_of(room)}messages/{message.pk}/"
    assert "name: Gone" in boss.get(f"{pages_of(room)}log/").content.decode()


def test_subjects_are_for_those_who_may_see_messages(staff: Callable[..., Client], room: Mailroom) -> None:
    room.add(mail("Confidential"))
    client = staff("accounts.view_grantdirectory", "accounts.view_transaction")
    page = client.get(f"{pages_of(room)}log/").content.decode()
    assert "message" in page
    assert "Confidential" not in page
    assert client.get(f"{pages_of(room)}messages/").status_code == 403


def test_log_costs_the_same_however_long_it_is(boss: Client, room: Mailroom) -> None:
    room.add(mail())
    counts = []
    for n in range(2):
        boss.get(f"{pages_of(room)}log/")
        with collected() as queries:
            boss.get(f"{pages_of(room)}log/")
        counts.append(len(queries))
        assert not [sql for _, sql in queries if "COUNT(" in sql]
        for m in range(5):
            room.add(mail(f"{n} {m}"))
    assert counts[0] == counts[1] <= 11


def test_empty_log_says_so(boss: Client, room: Mailroom) -> None:
    page = boss.get(f"{pages_of(room)}log/", {"type": ObjectType.EVENT.value}).content.decode()
    assert "No transaction matches" in page


@pytest.mark.parametrize(
    "query", [{"before": "x"}, {"before": "9" * 40}, {"type": "77"}, {"kind": "-1"}, {"before": "0"}]
)
def test_any_place_is_answered(boss: Client, room: Mailroom, query: dict[str, str]) -> None:
    assert boss.get(f"{pages_of(room)}log/", query).status_code == 200
