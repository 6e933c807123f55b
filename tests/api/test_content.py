"""Lists narrowed by what mails say: subject, addresses, size; and by folders that hold no copy."""

from __future__ import annotations

from typing import Any

import pytest

from project.shards import on_shard
from sync.models import Body
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail
from tests.api.test_lists import walk

pytestmark = pytest.mark.django_db(databases=ALIASES)


def found(api: Api, room: Mailroom, kind: str = "messages", **query: Any) -> list[str]:
    """Subjects, newest first, of all pages of two."""
    path = f"{room.path}/{kind}"
    named = {name.rstrip("_"): value for name, value in query.items()}
    whole = [one["subject"] for one in api.get(path, {**named, "limit": 200})["data"]]
    assert len(walk(api, path, {**named, "limit": 2})) == len(whole)
    return whole


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("invoice", ["Your INVOICE", "invoice 7"]),
        ("VOICE", ["Your INVOICE", "invoice 7"]),
        ("\u00e9t\u00e9", ["L'\u00c9T\u00c9 100% fini_"]),
        ("100%", ["L'\u00c9T\u00c9 100% fini_"]),
        ("i_i", []),
        ("fini_", ["L'\u00c9T\u00c9 100% fini_"]),
        # as short as this: beginnings of words
        ("in", ["Your INVOICE", "invoice 7"]),
        ("7", ["invoice 7"]),
        ("vo", []),
        (".", []),
        ("\u0442", ["\u0422\u0435\u043c\u0430"]),
        ("no such", []),
    ],
)
def test_subjects_are_matched_in_part_and_in_any_case(api: Api, room: Mailroom, part: str, wanted: list[str]) -> None:
    for subject in ("invoice 7", "Your INVOICE", "L'\u00c9T\u00c9 100% fini_", "\u0422\u0435\u043c\u0430"):
        room.add(mail(subject))
    assert found(api, room, subject=part) == wanted
    assert found(api, room, "threads", subject=part) == wanted


def test_addresses_are_matched_whole_and_in_any_case(api: Api, room: Mailroom) -> None:
    room.add(mail("a", From="Ada <Ada@Example.org>", To="bob@x.org, Eve <eve@x.org>"))
    room.add(mail("b", From="bob@x.org", To="ada@example.org", Cc="carol@x.org", Bcc="dan@x.org"))
    room.add(mail("c", From="eve@x.org", To="zoe@x.org"))
    assert found(api, room, from_="ada@example.org") == ["a"]
    assert found(api, room, from_=["ADA@example.org", "bob@x.org"]) == ["b", "a"]
    assert found(api, room, from_="ada@example.org,bob@x.org") == ["b", "a"]
    assert found(api, room, from_="ada@example") == []
    assert found(api, room, to="eve@x.org") == ["a"]
    assert found(api, room, cc="carol@x.org") == ["b"]
    assert found(api, room, bcc="dan@x.org") == ["b"]
    assert found(api, room, any_email="eve@x.org") == ["c", "a"]
    assert found(api, room, any_email="dan@x.org,zoe@x.org") == ["c", "b"]
    # several filters: all of them
    assert found(api, room, from_="bob@x.org", to="ada@example.org") == ["b"]
    assert found(api, room, from_="bob@x.org", to="eve@x.org") == []
    assert found(api, room, any_email="eve@x.org", subject="a") == ["a"]
    api.error(f"{room.path}/messages", {"any_email": [f"{n}@x.org" for n in range(26)]}, status=400)


def test_drafts_and_threads_are_narrowed_as_messages_are(api: Api, room: Mailroom) -> None:
    room.add(mail("Plan", Message_ID="<p@x>", From="ada@x.org", To="bob@x.org"))
    room.add(mail("Re: Plan", In_Reply_To="<p@x>", From="bob@x.org", To="ada@x.org"))
    room.add(mail("Other", From="ada@x.org", To="eve@x.org"))
    room.add(mail("My draft", To="eve@x.org"), "Drafts", flags=("\\Draft",))
    assert found(api, room, "drafts", to="eve@x.org", subject="draft") == ["My draft"]
    assert found(api, room, "drafts", to="bob@x.org") == []
    assert found(api, room, to="eve@x.org") == ["Other"]
    assert found(api, room, "threads", from_="bob@x.org") == ["Plan"]
    # met by two messages of one thread
    assert found(api, room, "threads", from_="bob@x.org", to="bob@x.org") == ["Plan"]
    assert found(api, room, "threads", any_email="eve@x.org", subject="Other") == ["Other"]


def test_sizes_are_bounded_both_included(api: Api, room: Mailroom) -> None:
    small, large = room.add(mail("small")), room.add(mail("large", text="x" * 5000))
    assert found(api, room, size_min=large.size) == ["large"]
    assert found(api, room, size_max=small.size) == ["small"]
    assert found(api, room, size_min=small.size, size_max=large.size) == ["large", "small"]
    assert found(api, room, size_max=0) == []
    for wrong in ("-1", "many", "1.5"):
        api.error(f"{room.path}/messages", {"size_min": wrong}, status=400)
    assert "size_min" in api.error(f"{room.path}/threads", {"size_min": 1}, status=400)["message"]


def test_what_lies_in_unwanted_folders_is_left_out(api: Api, room: Mailroom) -> None:
    room.add(mail("a"), "INBOX")
    room.add(mail("b"), "INBOX", "Junk")
    room.add(mail("c"), "Junk")
    room.add(mail("d"), "Sent")
    inbox, junk = room.folder("INBOX").pk, room.folder("Junk").pk
    assert found(api, room, not_in=junk) == ["d", "a"]
    assert found(api, room, not_in=[inbox, junk]) == ["d"]
    assert found(api, room, in_=inbox, not_in=junk) == ["a"]
    assert found(api, room, in_=inbox, not_in=junk, unread="true") == ["a"]
    assert found(api, room, in_=inbox, subject="b") == ["b"]
    assert found(api, room, "threads", not_in=junk) == ["d", "a"]


@pytest.mark.parametrize("kind", ["messages", "drafts", "threads"])
@pytest.mark.parametrize("name", ["q", "search_query_native", "metadata_pair", "updated_after", "list_id", "header"])
def test_what_is_not_served_is_named(api: Api, room: Mailroom, kind: str, name: str) -> None:
    assert name in api.error(f"{room.path}/{kind}", {name: "x"}, status=400)["message"]


def test_a_body_that_has_not_arrived_is_pending(api: Api, room: Mailroom) -> None:
    stored = room.add(mail("x", text="words"))
    empty = room.add(mail("y", text=""))
    path = f"{room.path}/messages/{stored.pk}"
    assert api.get(path)["data"]["body_pending"] is False
    assert api.get(f"{room.path}/messages/{empty.pk}")["data"]["body_pending"] is False
    with on_shard(room.id):
        Body.objects.filter(pk=stored.pk).delete()
    shown = api.get(path)["data"]
    assert (shown["body"], shown["body_text"], shown["body_pending"], shown["subject"]) == ("", "", True, "x")
    assert api.get(path, {"select": "body_pending"})["data"]["body_pending"] is True
    assert "body_pending" not in api.get(path, {"select": "subject"})["data"]
