"""The change log as clients read it: pages, cursors, objects, long polls, replay."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connections

from accounts.changelog.recorder import lock_account
from accounts.changelog.words import ObjectType
from accounts.models import Application, Notice, Transaction, TransactionHead
from api import changes
from project.shards import on_shard
from sync.models import Message
from sync.services.holding import delete_messages
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


def read(api: Api, room: Mailroom, **query: Any) -> dict[str, Any]:
    return api.get(f"{room.path}/changes", query)


def latest(api: Api, room: Mailroom) -> str:
    cursor = api.get(f"{room.path}/changes/latest")["data"]["cursor"]
    assert isinstance(cursor, str)
    return cursor


def told(page: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["type"], one["op"], one["id"]) for one in page["data"]]


def remove(room: Mailroom, message: Message) -> None:
    with on_shard(room.id), lock_account(room.id):
        delete_messages(room.id, [(message.pk, bytes(message.sha256), message.thread_id)])


def test_changes_are_read_from_latest_on(api: Api, room: Mailroom) -> None:
    folder = room.folder("INBOX")
    place = latest(api, room)
    assert read(api, room, since=place)["data"] == []
    stored = room.add(mail())
    page = read(api, room, since=place)
    assert sorted(told(page)) == sorted(
        [
            ("message", "created", str(stored.pk)),
            ("thread", "created", str(stored.thread_id)),
            ("folder", "updated", str(folder.pk)),
        ]
    )
    assert {one["grant_id"] for one in page["data"]} == {str(room.id)}
    assert abs(page["data"][0]["at"] - time.time()) < 60
    assert page["has_more"] is False
    assert page["next_cursor"] == latest(api, room)
    assert "complete" not in page
    again = read(api, room, since=page["next_cursor"])
    assert (again["data"], again["next_cursor"], again["has_more"]) == ([], page["next_cursor"], False)


def test_each_change_has_a_cursor_to_go_on_from(api: Api, room: Mailroom) -> None:
    for n in range(3):
        room.add(mail(f"{n}"))
    whole = read(api, room)["data"]
    for number, one in enumerate(whole):
        rest = read(api, room, since=one["cursor"])["data"]
        assert [each["cursor"] for each in rest] == [each["cursor"] for each in whole[number + 1 :]]


def test_pages_of_one_row_tell_the_same_as_one_page(api: Api, room: Mailroom) -> None:
    stored = room.add(mail())
    with on_shard(room.id):
        Message.objects.filter(pk=stored.pk).update(starred=True)
    remove(room, stored)
    ops: dict[tuple[str, str], list[str]] = {}
    since, pages = None, 0
    while True:
        page = read(api, room, limit=1, **({"since": since} if since else {}))
        assert len(page["data"]) <= 1
        for one in page["data"]:
            ops.setdefault((one["type"], one["id"]), []).append(one["op"])
        since, pages = page["next_cursor"], pages + 1
        if not page["has_more"]:
            break
    with on_shard(room.id):
        assert pages == Transaction.objects.filter(account_id=room.id).count()
    assert ops["message", str(stored.pk)] == ["created", "updated", "deleted"]
    together = {(one["type"], one["id"]): one["op"] for one in read(api, room)["data"]}
    assert together == {
        key: "deleted" if many[-1] == "deleted" else "created" if many[0] == "created" else "updated"
        for key, many in ops.items()
    }


def test_types_hide_what_is_not_named_and_move_on(api: Api, room: Mailroom) -> None:
    place = latest(api, room)
    stored = room.add(mail())
    draft = room.add(mail("draft"), flags=("\\Draft",))
    page = read(api, room, since=place, types="message,draft")
    assert told(page) == [("message", "created", str(stored.pk)), ("draft", "created", str(draft.pk))]
    assert page["next_cursor"] == latest(api, room)
    hidden = read(api, room, since=place, types="contact")
    assert (hidden["data"], hidden["next_cursor"]) == ([], latest(api, room))
    first = read(api, room, since=place, types="contact", limit=1)
    assert (first["data"], first["has_more"]) == ([], True)
    api.get(f"{room.path}/changes", [("types", "message"), ("types", "draft")])
    assert "types" in api.error(f"{room.path}/changes", {"types": "message,nothing"}, status=400)["message"]


def test_objects_are_inlined_as_the_lists_show_them(api: Api, room: Mailroom) -> None:
    stored = room.add(mail("kept", html="<p>x</p>", attachments=[("a", "text/plain", b"a")]))
    draft = room.add(mail("draft"), flags=("\\Draft",))
    gone = room.add(mail("gone"))
    remove(room, gone)
    page = read(api, room, include="object", limit=500)
    shown = {(one["type"], one["id"]): one["object"] for one in page["data"]}
    assert shown["message", str(stored.pk)] == api.get(f"{room.path}/messages")["data"][0]
    assert shown["draft", str(draft.pk)] == api.get(f"{room.path}/drafts")["data"][0]
    assert shown["folder", str(room.folder("INBOX").pk)] == api.get(f"{room.path}/folders")["data"][0]
    assert shown["grant", str(room.id)] == api.get("/v3/grants")["data"][0]
    assert shown["message", str(gone.pk)] is None
    threads = {one["id"]: one for one in api.get(f"{room.path}/threads")["data"]}
    assert shown["thread", str(stored.thread_id)] == threads[str(stored.thread_id)]
    assert all("object" not in one for one in read(api, room)["data"])
    api.error(f"{room.path}/changes", {"include": "everything"}, status=400)


def test_replaying_the_log_makes_what_the_lists_show(api: Api, room: Mailroom) -> None:
    stored = [room.add(mail(f"{n}"), "A", flags=("\\Draft",) if n % 4 == 0 else ()) for n in range(12)]
    with on_shard(room.id):
        Message.objects.filter(pk=stored[0].pk).update(is_draft=False)
        Message.objects.filter(pk=stored[1].pk).update(is_draft=True)
        Message.objects.filter(pk__in=[one.pk for one in stored[2:5]]).update(starred=True)
    remove(room, stored[5])
    replayed: dict[str, dict[str, Any]] = {kind: {} for kind in ("message", "draft", "thread", "folder", "grant")}
    page = read(api, room, include="object", limit=7)
    assert page["complete"] is True
    while True:
        for one in page["data"]:
            if one["op"] == "deleted" or one["object"] is None:
                replayed[one["type"]].pop(one["id"], None)
            else:
                replayed[one["type"]][one["id"]] = one["object"]
        if not page["has_more"]:
            break
        page = read(api, room, include="object", limit=7, since=page["next_cursor"])
    for kind, found in replayed.items():
        path = "/v3/grants" if kind == "grant" else f"{room.path}/{kind}s"
        assert found == {one["id"]: one for one in api.get(path, {"limit": 200})["data"]}, kind


def test_a_notice_is_shown_when_named_with_its_facts(api: Api, room: Mailroom) -> None:
    place = latest(api, room)
    stored = room.add(mail())
    with on_shard(room.id):
        notice = Notice.objects.create(
            account_id=room.id,
            name="message.bounce_detected",
            about_type=ObjectType.MESSAGE,
            about_id=stored.pk,
            facts={"bounce_reason": "full"},
        )
    assert all(one["type"] != "notice" for one in read(api, room, since=place)["data"])
    (shown,) = read(api, room, since=place, types="notice")["data"]
    assert shown["id"] == str(notice.pk)
    assert shown["object"] == {
        "name": "message.bounce_detected",
        "about_type": "message",
        "about_id": str(stored.pk),
        "bounce_reason": "full",
    }


def test_a_cursor_of_another_grant_or_hand_is_400(api: Api, room: Mailroom, application: Application) -> None:
    other = make_mailroom(application, "other@example.org")
    mine = latest(api, room)
    for wrong in (latest(api, other), mine[:-2] + "AA", mine + "A", "x", "0", "é"):
        error = api.error(f"{room.path}/changes", {"since": wrong}, status=400)
        assert error["type"] == "invalid_request_error"


def test_a_cursor_survives_a_new_key_and_not_the_loss_of_its_own(api: Api, room: Mailroom, settings: Any) -> None:
    place, keys = latest(api, room), settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = ["n" * 40, *keys]
    read(api, room, since=place)
    settings.SECRET_KEY = "another" * 10
    read(api, room, since=place)
    settings.ENCRYPTION_KEYS = ["n" * 40]
    api.error(f"{room.path}/changes", {"since": place}, status=400)


def test_a_pruned_cursor_is_410_and_the_log_is_no_longer_complete(api: Api, room: Mailroom) -> None:
    place = latest(api, room)
    room.add(mail())
    with on_shard(room.id):
        pruned = TransactionHead.objects.get(pk=room.id).last_seq - 1
        Transaction.objects.filter(account_id=room.id, seq__lte=pruned).delete()
        TransactionHead.objects.filter(pk=room.id).update(pruned_seq=pruned)
    assert api.error(f"{room.path}/changes", {"since": place}, status=410)["type"] == "cursor_expired"
    page = read(api, room)
    assert page["complete"] is False
    assert len(page["data"]) == 1


@pytest.mark.parametrize("wait", ["-1", "30.1", "31", "x", "", "1e1", "NaN"])
def test_a_wait_out_of_range_is_400(api: Api, room: Mailroom, wait: str) -> None:
    assert "wait" in api.error(f"{room.path}/changes", {"wait": wait}, status=400)["message"]


def test_a_wait_without_news_ends_with_an_empty_page(api: Api, room: Mailroom) -> None:
    place = latest(api, room)
    began = time.monotonic()
    page = read(api, room, since=place, wait="1.2")
    assert 1.1 < time.monotonic() - began < 5
    assert (page["data"], page["next_cursor"]) == ([], place)


def test_a_wait_ends_at_once_where_there_is_something(api: Api, room: Mailroom) -> None:
    began = time.monotonic()
    assert read(api, room, wait=30)["data"]
    assert time.monotonic() - began < 5


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_a_wait_ends_when_a_change_of_the_types_comes(api: Api, room: Mailroom) -> None:
    room.folder("INBOX")
    place = latest(api, room)

    def arrive() -> None:
        try:
            time.sleep(0.5)
            # a folder alone is no news to who waits for messages
            room.folder("Later")
            time.sleep(1.0)
            room.add(mail())
        finally:
            connections.close_all()

    thread = threading.Thread(target=arrive)
    thread.start()
    began = time.monotonic()
    page = read(api, room, since=place, wait=20, types="message")
    took = time.monotonic() - began
    thread.join()
    assert [one["type"] for one in page["data"]] == ["message"]
    assert 1.0 < took < 10


def test_only_so_many_may_wait_at_once(api: Api, room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "_waiting", threading.BoundedSemaphore(1))
    place = latest(api, room)
    with changes._waiting:
        began = time.monotonic()
        assert read(api, room, since=place, wait=20)["data"] == []
        assert time.monotonic() - began < 5
    read(api, room, since=place, wait="0.1")
    assert changes._waiting.acquire(blocking=False)


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_no_database_connection_is_held_while_a_caller_waits(api: Api, room: Mailroom) -> None:
    held: list[bool] = []
    place = latest(api, room)

    def wait() -> None:
        with on_shard(room.id):
            changes.changes_page(room.id, since=place, wait=3)
        connections.close_all()

    def busy() -> int:
        from project.postgres import pool_states

        return sum(state.lent for state in pool_states().values())

    connections.close_all()
    before = busy()
    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        held.append(busy() == before)
        time.sleep(0.02)
    thread.join()
    # only for the looks themselves
    assert sum(held) > 0.8 * len(held) > 50
