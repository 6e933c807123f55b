"""Staff list, search and read mail; a body only with a permission, and only once that is recorded."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from accounts.models import AuditEntry
from project.shards import alias_of, on_shard, shard_of
from sync.admin import finding
from sync.admin.finding import Place, Position, find_messages
from sync.models import Blob
from tests.admin.conftest import collected, pages_of
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail

pytestmark = pytest.mark.django_db(databases=ALIASES)

SECRET_TEXT = "meet me behind the old mill"


def subjects(response: Any) -> list[str]:
    assert response.status_code == 200
    return [line.message.subject for line in response.context["lines"]]


def walk(client: Client, address: str, **query: str) -> list[str]:
    """Follow `older` to the end; return every subject shown."""
    shown: list[str] = []
    response = client.get(address, query)
    while True:
        shown += subjects(response)
        older = response.context["older"]
        if older is None:
            return shown
        response = client.get(address + older)


def test_pages_hold_every_message_once_newest_first(boss: Client, room: Mailroom, monkeypatch: Any) -> None:
    monkeypatch.setattr(finding, "PAGE", 3)
    # several of the same second: the id decides
    for n in range(10):
        room.add(mail(f"{n}"), date=EPOCH + timedelta(seconds=n // 4))
    assert walk(boss, f"{pages_of(room)}messages/") == [f"{n}" for n in reversed(range(10))]


def test_folder_shows_its_own_messages(boss: Client, room: Mailroom, monkeypatch: Any) -> None:
    monkeypatch.setattr(finding, "PAGE", 2)
    for n in range(5):
        room.add(mail(f"{n}"), "Work" if n % 2 else "INBOX")
    # many times in one folder, shown once
    room.add(mail("often"), *["Work"] * 9)
    work = str(room.folder("Work").pk)
    assert walk(boss, f"{pages_of(room)}messages/", folder=work) == ["often", "3", "1"]


def test_thread_shows_its_own_messages(boss: Client, room: Mailroom) -> None:
    first = room.add(mail("question"))
    room.add(mail("answer", In_Reply_To=f"<{first.message_id_header}>"))
    room.add(mail("other"))
    assert walk(boss, f"{pages_of(room)}messages/", thread=str(first.thread_id)) == ["answer", "question"]


@pytest.mark.parametrize("words", ["INVOICE", "grace@", "Hopper", "100%_"])
def test_search_finds_subjects_and_senders(boss: Client, room: Mailroom, words: str) -> None:
    room.add(mail("Your invoice, 100%_ safe", From="Grace Hopper <grace@example.net>"))
    room.add(mail("another"))
    assert walk(boss, f"{pages_of(room)}messages/", q=words) == ["Your invoice, 100%_ safe"]


def test_search_looks_through_a_window_a_page_and_goes_on(boss: Client, room: Mailroom, monkeypatch: Any) -> None:
    for n in range(9):
        room.add(mail("rare" if n in (0, 5) else f"{n}"), "Work")
    monkeypatch.setattr(finding, "WINDOW", 3)
    address = f"{pages_of(room)}messages/"
    response = boss.get(address, {"q": "rare"})
    assert subjects(response) == []
    assert "go on with “older”" in response.content.decode()
    assert walk(boss, address, q="rare") == ["rare", "rare"]
    assert walk(boss, address, q="rare", folder=str(room.folder("Work").pk)) == ["rare", "rare"]


def test_lists_never_count_and_cost_the_same(boss: Client, room: Mailroom) -> None:
    room.add(mail("first"))
    for query in ({}, {"q": "first"}, {"folder": str(room.folder().pk)}):
        counts = []
        for n in range(2):
            boss.get(f"{pages_of(room)}messages/", query)
            with collected() as queries:
                boss.get(f"{pages_of(room)}messages/", query)
            counts.append(len(queries))
            assert not [sql for _, sql in queries if "COUNT(" in sql]
            for m in range(6):
                room.add(mail(f"first {n} {m}"))
        assert counts[0] == counts[1] <= 8


@pytest.mark.parametrize("before", ["", "x", "1.x", f"{10**30}.1", "1700000000000000.5"])
def test_any_position_is_answered(boss: Client, room: Mailroom, before: str) -> None:
    room.add(mail())
    assert boss.get(f"{pages_of(room)}messages/", {"before": before, "folder": "9" * 19}).status_code == 200


def test_position_survives_the_address(room: Mailroom) -> None:
    message = room.add(mail(), date=EPOCH + timedelta(microseconds=1))
    position = Position(message.date, message.pk)
    assert Position.parse(str(position)) == position
    with on_shard(room.id):
        assert find_messages(Place(room.id), before=position).messages == []


def test_another_account_s_message_is_not_shown(boss: Client, room: Mailroom, application: Any) -> None:
    from tests.api.mailbox import make_mailroom

    other = make_mailroom(application, "other@example.org", shard=shard_of(room.id))
    message = other.add(mail("not yours", text=SECRET_TEXT))
    for path in ("", "body/", "raw/"):
        response = boss.post(f"{pages_of(room)}messages/{message.pk}/{path}", follow=True)
        assert "not yours" not in response.content.decode()
        assert f"Message {message.pk} is not in this mailbox" in response.content.decode()
    assert not AuditEntry.objects.exists()
    for narrowed in ({"folder": str(other.folder().pk)}, {"thread": str(message.thread_id)}):
        assert walk(boss, f"{pages_of(room)}messages/", **narrowed) == []


def test_message_page_shows_everything_but_the_body(boss: Client, room: Mailroom) -> None:
    raw = mail(
        "Plan <b>bold</b>",
        text=f"{'Long words first. ' * 20}{SECRET_TEXT}",
        Cc="Carl <carl@example.org>",
        X_Odd="kept as it is",
        attachments=[("map.png", "image/png", b"x" * 10)],
    )
    message = room.add(raw, "INBOX", "Work", flags=("\\Flagged",))
    page = html.unescape(boss.get(f"{pages_of(room)}messages/{message.pk}/").content.decode())
    for told in (
        "carl@example.org",
        "X-Odd: kept as it is",
        "\\Flagged",
        "INBOX, Work",
        "map.png",
        "Long words first.",
    ):
        assert told in page
    assert SECRET_TEXT not in page
    assert "<b>bold</b>" not in boss.get(f"{pages_of(room)}messages/{message.pk}/").content.decode()
    assert not AuditEntry.objects.exists()


def test_damage_is_named(boss: Client, room: Mailroom) -> None:
    message = room.add(b"Subject: broken\r\nDate: never\r\nContent-Type: text/plain; charset=nonsense\r\n\r\nx\xff")
    page = boss.get(f"{pages_of(room)}messages/{message.pk}/").content.decode()
    assert message.defects
    assert all(defect in page for defect in message.defects)
    with on_shard(room.id):
        Blob.objects.all().delete()
    assert "check_mirror" in boss.get(f"{pages_of(room)}messages/{message.pk}/").content.decode()


def test_body_is_shown_in_a_frame_that_runs_and_loads_nothing(boss: Client, room: Mailroom) -> None:
    hostile = '<script>alert(1)</script><img src="https://tracker.example/x.png">"><p>hello'
    message = room.add(mail("Hi", text=SECRET_TEXT, html=hostile))
    response = boss.post(f"{pages_of(room)}messages/{message.pk}/body/")
    page = response.content.decode()
    assert SECRET_TEXT in page
    assert "<script>alert(1)" not in page
    assert html.escape(hostile) in page
    assert 'sandbox referrerpolicy="no-referrer"' in page
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "no-store" in response.headers["Cache-Control"]


def test_opening_a_body_is_recorded(boss: Client, room: Mailroom) -> None:
    message = room.add(mail("Hi", text=SECRET_TEXT))
    boss.post(f"{pages_of(room)}messages/{message.pk}/body/")
    entry = AuditEntry.objects.get()
    assert (entry.username, entry.action, entry.account_id) == ("boss", "opened body", room.id)
    assert (entry.object_type, entry.object_id, entry.address) == ("message", message.pk, "192.0.2.7")
    listed = boss.get("/admin/accounts/auditentry/", {"q": room.account.email}).content.decode()
    assert "opened body" in listed
    assert f"message {message.pk}" in listed
    assert "opened body" in boss.get(f"{pages_of(room)}change/").content.decode()


@pytest.mark.parametrize("door", ["body/", "raw/"])
def test_what_cannot_be_recorded_is_not_opened(boss: Client, room: Mailroom, door: str) -> None:
    message = room.add(mail("Hi", text=SECRET_TEXT))
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_auditentry ADD CHECK (username <> 'boss')")
    with collected() as queries:
        response = boss.post(f"{pages_of(room)}messages/{message.pk}/{door}")
    assert response.status_code == 500
    # not even read, though nothing keeps the other shard from being read
    touched = [sql for _, sql in queries if '"sync_body"' in sql or '"sync_blob"' in sql]
    assert touched == []


@pytest.mark.parametrize("door", ["body/", "raw/"])
def test_following_a_link_to_a_body_opens_nothing(boss: Client, room: Mailroom, door: str) -> None:
    message = room.add(mail("Hi", text=SECRET_TEXT))
    response = boss.get(f"{pages_of(room)}messages/{message.pk}/{door}")
    assert response.headers["Location"] == f"{pages_of(room)}messages/{message.pk}/"
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("door", ["body/", "raw/"])
def test_staff_without_the_permission_cannot_open_bodies(
    staff: Callable[..., Client], room: Mailroom, door: str
) -> None:
    client = staff("accounts.view_grantdirectory", "sync.view_message")
    message = room.add(mail("Hi", text="public words " * 20 + SECRET_TEXT))
    page = client.get(f"{pages_of(room)}messages/{message.pk}/").content.decode()
    assert "Can open the bodies of messages" in page
    assert 'id="open-body"' not in page
    response = client.post(f"{pages_of(room)}messages/{message.pk}/{door}")
    assert response.status_code == 403
    assert SECRET_TEXT not in response.content.decode()
    assert not AuditEntry.objects.exists()


def test_raw_mail_comes_byte_for_byte_and_is_recorded(
    staff: Callable[..., Client], room: Mailroom, settings: Any
) -> None:
    raw = mail("Hi", attachments=[("big.bin", "application/octet-stream", bytes(range(256)) * 6000)])
    message = room.add(raw)
    client = staff("accounts.open_body")
    response: Any = client.post(f"{pages_of(room)}messages/{message.pk}/raw/")
    assert AuditEntry.objects.get().action == "downloaded mail"
    assert b"".join(response.streaming_content) == raw
    assert response.headers["Content-Disposition"] == f'attachment; filename="message-{message.pk}.eml"'


def test_address_behind_a_proxy_is_the_one_the_proxy_saw(boss: Client, room: Mailroom, settings: Any) -> None:
    message = room.add(mail())
    address = f"{pages_of(room)}messages/{message.pk}/body/"
    claimed = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9"}
    boss.post(address, headers=claimed)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    boss.post(address, headers=claimed)
    boss.post(address, headers={"X-Forwarded-For": "nonsense"})
    told = AuditEntry.objects.order_by("pk").values_list("address", flat=True)
    assert list(told) == ["192.0.2.7", "203.0.113.9", None]


def test_mailbox_of_many_is_listed_by_an_index(room: Mailroom) -> None:
    from sync.admin.finding import _bounded

    room.add(mail())
    with on_shard(room.id), connections[alias_of(shard_of(room.id))].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
        for place, index in (
            (Place(room.id), "messages_newest_first"),
            (Place(room.id, room.folder().pk), "copies_newest_first"),
        ):
            rows, key = place.rows()
            rows = _bounded(rows, key, Position(EPOCH, 1), "lt").order_by("-date", f"-{key}")
            assert index in rows[:51].explain()
