"""Lists: pages, tokens, filters, select; for messages, drafts, threads and folders."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from accounts.changelog.recorder import lock_account
from accounts.models import Application
from project.shards import on_shard
from sync.models import FolderMessage, Message
from sync.services.copies import refresh_messages
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


def walk(api: Api, path: str, query: dict[str, Any], *, limits: list[int] | None = None) -> list[str]:
    """Follow `next_cursor` to the end, with another limit on each page; return the ids."""
    found: list[str] = []
    token, turns = None, 0
    while True:
        given = {**query, **({"page_token": token} if token else {})}
        if limits:
            given["limit"] = limits[turns % len(limits)]
        page = api.get(path, given)
        if limits:
            assert len(page["data"]) <= given["limit"]
        assert page["data"] or page["next_cursor"] is None
        found += [one["id"] for one in page["data"]]
        token, turns = page["next_cursor"], turns + 1
        assert turns < 100
        if token is None:
            return found


def ids(messages: list[Message]) -> list[str]:
    return [str(one.pk) for one in messages]


def test_messages_come_newest_first_and_each_once(api: Api, room: Mailroom) -> None:
    # three of one moment, so that only the id tells them apart
    dates = [EPOCH] * 3 + [EPOCH.replace(year=1960), EPOCH.replace(year=9990), EPOCH.replace(microsecond=7)]
    stored = [room.add(mail(f"{n}"), date=date) for n, date in enumerate(dates)]
    wanted = ids(sorted(stored, key=lambda one: (one.date, one.pk), reverse=True))
    assert walk(api, f"{room.path}/messages", {}) == wanted
    for limits in ([1], [2], [3, 1], [5], [6], [7], [200]):
        assert walk(api, f"{room.path}/messages", {}, limits=limits) == wanted


@pytest.mark.parametrize("kind", ["drafts", "threads", "folders"])
def test_every_list_pages(api: Api, room: Mailroom, kind: str) -> None:
    for n in range(5):
        room.add(mail(f"{n}"), f"Box {n}", flags=("\\Draft",) if kind == "drafts" else ())
    whole = [one["id"] for one in api.get(f"{room.path}/{kind}")["data"]]
    assert len(whole) == 5
    for limits in ([1], [2, 3], [5], [6]):
        assert walk(api, f"{room.path}/{kind}", {}, limits=limits) == whole


def test_a_full_last_page_has_no_cursor(api: Api, room: Mailroom) -> None:
    for n in range(4):
        room.add(mail(f"{n}"))
    page = api.get(f"{room.path}/messages", {"limit": 2})
    last = api.get(f"{room.path}/messages", {"limit": 2, "page_token": page["next_cursor"]})
    assert len(last["data"]) == 2
    assert last["next_cursor"] is None


def test_a_page_token_survives_news_and_deletions(api: Api, room: Mailroom) -> None:
    stored = [room.add(mail(f"{n}")) for n in range(6)]
    page = api.get(f"{room.path}/messages", {"limit": 2})
    room.add(mail("new"))
    with on_shard(room.id):
        # the very message that the token names, and one behind it
        Message.objects.filter(pk__in=[stored[4].pk, stored[2].pk]).delete()
    rest = walk(api, f"{room.path}/messages", {"page_token": page["next_cursor"]})
    assert rest == ids([stored[3], stored[1], stored[0]])


def test_the_page_after_the_last_object_went_is_empty_and_ends(api: Api, room: Mailroom) -> None:
    stored = [room.add(mail(f"{n}")) for n in range(2)]
    token = api.get(f"{room.path}/messages", {"limit": 1})["next_cursor"]
    with on_shard(room.id):
        stored[0].delete()
    page = api.get(f"{room.path}/messages", {"page_token": token})
    assert (page["data"], page["next_cursor"]) == ([], None)


def test_a_page_token_of_another_list_or_grant_or_hand_is_400(
    api: Api, room: Mailroom, application: Application
) -> None:
    for n in range(3):
        room.add(mail(f"{n}"))
    other = make_mailroom(application, "other@example.org")
    token = api.get(f"{room.path}/messages", {"limit": 1})["next_cursor"]
    api.get(f"{room.path}/messages", {"page_token": token})
    for path in (f"{room.path}/threads", f"{room.path}/drafts", f"{room.path}/folders", f"{other.path}/messages"):
        api.error(path, {"page_token": token}, status=400)
    forged = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (forged, token + "=", token[:20], token + "A", "x", "é", "1", "%00"):
        error = api.error(f"{room.path}/messages", {"page_token": wrong}, status=400)
        assert error["type"] == "invalid_request_error"
        assert "page_token" in error["message"]


def test_filters_may_be_left_out_with_a_page_token(api: Api, room: Mailroom) -> None:
    for n in range(6):
        room.add(mail(f"{n}"), "A" if n % 2 else "B")
    path, folder = f"{room.path}/messages", str(room.folder("A").pk)
    first = api.get(path, {"in": folder, "limit": 1})
    rest = walk(api, path, {"in": folder, "page_token": first["next_cursor"]})
    assert len(rest) == 2
    again = api.get(path, {"page_token": first["next_cursor"], "limit": 1})
    assert [one["id"] for one in again["data"]] == rest[:1]
    assert walk(api, path, {"page_token": again["next_cursor"]}) == rest[1:]


@pytest.mark.parametrize("kind", ["messages", "drafts", "threads", "folders", "changes"])
def test_a_limit_that_is_none_is_400(api: Api, room: Mailroom, kind: str) -> None:
    for limit in ("0", "-1", "501", "x", "", "1.5", "1e1", " 5", "٣", "9" * 40, "0x10"):
        assert "limit" in api.error(f"{room.path}/{kind}", {"limit": limit}, status=400)["message"]


def test_limits_go_to_200_and_default_to_50(api: Api, room: Mailroom) -> None:
    for n in range(51):
        room.add(mail(f"{n}"))
    path = f"{room.path}/messages"
    assert len(api.get(path)["data"]) == 50
    assert len(api.get(path, {"limit": 200})["data"]) == 51
    api.error(path, {"limit": 201}, status=400)


@pytest.mark.parametrize("literal", ["None", "undefined"])
def test_what_sdks_send_for_nothing_counts_as_absent(api: Api, room: Mailroom, literal: str) -> None:
    room.add(mail())
    names = ["limit", "page_token", "unread", "starred", "in", "thread_id", "received_after", "select", "fields"]
    assert len(api.get(f"{room.path}/messages", dict.fromkeys(names, literal))["data"]) == 1
    api.get(f"{room.path}/changes", dict.fromkeys(["since", "types", "wait", "limit", "include"], literal))


@pytest.mark.parametrize("true", ["true", "True", "TRUE", "1"])
def test_booleans_are_read_in_each_spelling(api: Api, room: Mailroom, true: str) -> None:
    unread = room.add(mail("new"))
    read = room.add(mail("old"), flags=("\\Seen",))
    false = {"true": "false", "True": "False", "TRUE": "FALSE", "1": "0"}[true]
    assert walk(api, f"{room.path}/messages", {"unread": true}) == ids([unread])
    assert walk(api, f"{room.path}/messages", {"unread": false}) == ids([read])


@pytest.mark.parametrize("name", ["unread", "starred", "has_attachment"])
def test_a_boolean_that_is_none_is_400(api: Api, room: Mailroom, name: str) -> None:
    for wrong in ("yes", "2", "", "t", "truee"):
        assert name in api.error(f"{room.path}/messages", {name: wrong}, status=400)["message"]


@pytest.mark.parametrize(
    "query",
    [{"received_after": "today"}, {"fields": "all"}, {"in": ",".join(map(str, range(1, 60)))}, {"q": "x"}],
)
def test_other_malformed_or_unserved_filters_are_400(api: Api, room: Mailroom, query: dict[str, str]) -> None:
    assert next(iter(query)) in api.error(f"{room.path}/messages", query, status=400)["message"]


def test_flags_filter_messages_drafts_and_threads(api: Api, room: Mailroom) -> None:
    plain = room.add(mail("plain"), flags=("\\Seen",))
    starred = room.add(mail("starred"), flags=("\\Flagged", "\\Seen"))
    draft = room.add(mail("draft"), flags=("\\Draft", "\\Flagged"))
    assert walk(api, f"{room.path}/messages", {"starred": "true"}) == ids([starred])
    assert walk(api, f"{room.path}/messages", {"starred": "false"}) == ids([plain])
    assert walk(api, f"{room.path}/messages", {"starred": "true", "unread": "true"}) == []
    assert walk(api, f"{room.path}/drafts", {"starred": "true"}) == ids([draft])
    assert walk(api, f"{room.path}/drafts", {"unread": "false"}) == []
    assert walk(api, f"{room.path}/threads", {"starred": "true"}) == [str(starred.thread_id)]


def test_attachments_and_dates_filter(api: Api, room: Mailroom) -> None:
    bare = room.add(mail("bare"))
    full = room.add(mail("full", attachments=[("a.txt", "text/plain", b"x")]))
    path, moment = f"{room.path}/messages", int(bare.date.timestamp())
    assert walk(api, path, {"has_attachment": "true"}) == ids([full])
    assert walk(api, path, {"has_attachment": "false"}) == ids([bare])
    assert walk(api, path, {"received_after": moment}) == ids([full])
    assert walk(api, path, {"received_before": moment + 1}) == ids([bare])
    assert walk(api, f"{room.path}/threads", {"latest_message_after": moment}) == [str(full.thread_id)]


def test_a_thread_filters_its_messages_and_drafts(api: Api, room: Mailroom) -> None:
    first = room.add(mail("x", Message_ID="<a@x>"))
    reply = room.add(mail("re: x", In_Reply_To="<a@x>"))
    draft = room.add(mail("re: x", In_Reply_To="<a@x>"), "Drafts", flags=("\\Draft",))
    room.add(mail("other"))
    query = {"thread_id": first.thread_id}
    assert walk(api, f"{room.path}/messages", query) == ids([reply, first])
    assert walk(api, f"{room.path}/drafts", query) == ids([draft])
    assert walk(api, f"{room.path}/messages", {**query, "in": room.folder("Drafts").pk}) == []
    for unknown in ("1", "x", "9" * 19):
        assert walk(api, f"{room.path}/messages", {"thread_id": unknown}) == []


@pytest.mark.parametrize("more", [{}, {"unread": "true"}, {"unread": "false"}, {"starred": "false"}])
def test_folders_filter_by_any_of_them_however_they_are_given(api: Api, room: Mailroom, more: dict[str, str]) -> None:
    flags = ("\\Seen",) if more.get("unread") == "false" else ()
    a, b = room.add(mail("a"), "A", flags=flags), room.add(mail("b"), "B", flags=flags)
    both = room.add(mail("both"), "A", "B", "A", flags=flags)
    room.add(mail("c"), "C", flags=flags)
    room.add(mail("draft"), "A", flags=("\\Draft", *flags))
    one, two = (str(room.folder(path).pk) for path in "AB")
    path = f"{room.path}/messages"
    assert walk(api, path, {"in": one, **more}) == ids([both, a])
    for query in ({"in": [one, two]}, {"in": f"{one},{two}"}, {"in": [f"{two},{one}", one, "7"]}):
        for limits in ([1], [2], [50]):
            assert walk(api, path, {**query, **more}, limits=limits) == ids([both, b, a])
    for nowhere in ("7", "x", "None,7", str(2**62)):
        assert walk(api, path, {"in": nowhere, **more}) == []


def test_a_folder_of_another_account_holds_nothing(api: Api, room: Mailroom, application: Application) -> None:
    other = make_mailroom(application, "other@example.org")
    other.add(mail())
    assert walk(api, f"{room.path}/messages", {"in": other.folder("INBOX").pk}) == []


def test_a_held_message_is_still_shown_where_it_was(api: Api, room: Mailroom) -> None:
    kept, lost = room.add(mail("kept"), "A"), room.add(mail("lost"), "A")
    with on_shard(room.id), lock_account(room.id):
        FolderMessage.objects.filter(message_id=lost.pk).delete()
        refresh_messages(room.id, [lost.pk])
        assert Message.objects.get(pk=lost.pk).held_by is not None
    folder = room.folder("A").pk
    assert walk(api, f"{room.path}/messages", {}) == ids([lost, kept])
    assert walk(api, f"{room.path}/messages", {"in": folder}) == ids([lost, kept])
    assert walk(api, f"{room.path}/messages", {"in": folder}, limits=[1]) == ids([lost, kept])
    assert api.get(f"{room.path}/messages/{lost.pk}")["data"]["folders"] == [str(folder)]


@pytest.mark.parametrize("kind", ["messages", "drafts", "threads", "folders"])
def test_select_keeps_what_sdks_need(api: Api, room: Mailroom, kind: str) -> None:
    room.add(mail(), flags=("\\Draft",) if kind == "drafts" else ())
    field = "path" if kind == "folders" else "subject"
    for query in ({"select": f"{field},unknown"}, {"select": [field, "id"]}):
        (one,) = api.get(f"{room.path}/{kind}", query)["data"]
        assert set(one) == {"id", "grant_id", "object", field}
        single = api.get(f"{room.path}/{kind}/{one['id']}", query)["data"]
        assert single == one


def test_folders_are_listed_on_all_levels_or_on_one(api: Api, room: Mailroom) -> None:
    top = room.folder("Top")
    child = room.folder("Top/Child", parent=top)
    grandchild = room.folder("Top/Child/Grandchild", parent=child)
    path = f"{room.path}/folders"
    assert walk(api, path, {}) == [str(one.pk) for one in (top, child, grandchild)]
    assert walk(api, path, {"single_level": "true"}) == [str(top.pk)]
    assert walk(api, path, {"parent_id": top.pk}) == [str(child.pk)]
    assert walk(api, path, {"parent_id": "x"}) == []
    shown = api.get(f"{path}/{child.pk}")["data"]
    assert (shown["name"], shown["path"], shown["delimiter"]) == ("Child", "Top/Child", "/")
    assert shown["parent_id"] == str(top.pk)


def test_moments_at_the_ends_of_time_are_served(api: Api, room: Mailroom) -> None:
    room.add(mail(), date=datetime(1, 1, 1, tzinfo=UTC))
    room.add(mail("late"), date=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    late, early = api.get(f"{room.path}/messages")["data"]
    assert early["date"] == -62135596800
    assert late["date"] == 253402300799
    assert len(walk(api, f"{room.path}/messages", {}, limits=[1])) == 2
