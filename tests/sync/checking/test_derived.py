"""Columns that do not follow from their rows, planted past every door, are named, each of them, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models import F

from accounts.changelog.recorder import allow_unlogged
from accounts.services import default_application
from project.shards import on_shard
from sync.checking.derived import check_derived
from sync.checking.values import Difference, Kind
from sync.models import Blob, Body, Folder, FolderMessage, Message, Part, Thread
from tests.accounts.changelog.rows import ALIASES
from tests.api.mailbox import Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.fixture
def room(db: None) -> Iterator[Mailroom]:
    """A thread of three: one, an answer in two folders, a draft; and one with an attachment. Its shard is at hand."""
    room = make_mailroom(default_application(), shard=1)
    with on_shard(room.id):
        room.folder("Drafts", role="drafts")
        room.folder("Sent", role="sent")
        room.add(mail("one", Message_ID="<1@x>", From="bo@example.org"), flags=(r"\Seen",))
        room.add(mail("Re: one", Message_ID="<2@x>", In_Reply_To="<1@x>", From="ada@example.org"), "INBOX", "Sent")
        room.add(mail("Re: one", Message_ID="<3@x>", In_Reply_To="<1@x>"), "Drafts", flags=(r"\Flagged", "$Work"))
        room.add(mail("two", attachments=[("a.pdf", "application/pdf", b"%PDF")]), "INBOX")
        yield room


def found(room: Mailroom) -> list[Difference]:
    return list(check_derived(room.id))


def only(room: Mailroom) -> Difference:
    (one,) = found(room)
    return one


def message(room: Mailroom, subject: str = "one", **more: Any) -> Message:
    return Message.objects.get(account_id=room.id, subject=subject, **more)


def plant(rows: Any, **columns: Any) -> None:
    with allow_unlogged("planted by a test"):
        rows.update(**columns)


def test_what_a_sync_writes_follows(room: Mailroom) -> None:
    assert found(room) == []


def test_each_wrong_column_of_a_message_is_named(room: Mailroom) -> None:
    one = message(room)
    wrong = {
        "unread": True,
        "starred": True,
        "is_draft": True,
        "copies": 7,
        "flags": ["x"],
        "folder_ids": [],
        "has_attachments": True,
    }
    plant(Message.objects.filter(pk=one.pk), **wrong)
    # its thread differs with it
    (named,) = [each for each in found(room) if each.message_id == one.pk]
    assert (named.kind, named.folder) == (Kind.DERIVED_DIFFERS, "INBOX")
    assert named.mirror == wrong
    assert named.server == {
        "unread": False,
        "starred": False,
        "is_draft": False,
        "copies": 1,
        "flags": [r"\Seen"],
        "folder_ids": [room.folder("INBOX").pk],
        "has_attachments": False,
    }


def test_date_is_that_of_the_oldest_copy_in_each_copy(room: Mailroom) -> None:
    one = message(room)
    plant(FolderMessage.objects.filter(message=one), date="2001-01-01T00:00Z")
    assert (only(room).message_id, only(room).mirror) == (one.pk, {"dated": False})
    plant(FolderMessage.objects.filter(message=one), date=one.date, internal_date="2001-01-01T00:00Z")
    assert only(room).server == {"date": "2001-01-01T00:00:00+00:00"}


def test_draft_is_what_lies_in_the_drafts_folder(room: Mailroom) -> None:
    plant(Folder.objects.filter(pk=room.folder("Drafts").pk), role="")
    named = only(room)
    assert (named.kind, named.folder, named.server) == (Kind.DERIVED_DIFFERS, "Drafts", {"is_draft": False})


def test_message_without_copies_is_named_unless_it_is_held(room: Mailroom) -> None:
    one = message(room)
    FolderMessage.objects.filter(message=one).delete()
    inbox = room.folder("INBOX")
    plant(Folder.objects.filter(pk=inbox.pk), total_count=F("total_count") - 1)
    assert (only(room).kind, only(room).message_id) == (Kind.DERIVED_DIFFERS, one.pk)
    plant(Message.objects.filter(pk=one.pk), held_by=1)
    assert found(room) == []


def test_missing_rows_of_a_message_are_named(room: Mailroom) -> None:
    one = message(room)
    Body.objects.filter(pk=one.pk).delete()
    assert (only(room).kind, only(room).folder, only(room).message_id) == (Kind.BODY_MISSING, "INBOX", one.pk)
    Blob.objects.filter(account_id=room.id, sha256=one.sha256).delete()
    assert {one.kind for one in found(room)} == {Kind.BODY_MISSING, Kind.BLOB_MISSING}


def test_message_that_lost_its_attachments_is_named(room: Mailroom) -> None:
    one = message(room, "two")
    Part.objects.filter(message=one).delete()
    assert (only(room).message_id, only(room).mirror) == (one.pk, {"has_attachments": True})


def test_blob_of_no_message_is_named(room: Mailroom) -> None:
    Blob.objects.create(account_id=room.id, sha256=b"\1" * 32, number=0, data=b"")
    assert (only(room).kind, only(room).mirror) == (Kind.BLOB_EXTRA, "01" * 32)


def test_each_wrong_column_of_a_thread_is_named(room: Mailroom) -> None:
    wrong: dict[str, Any] = {
        "subject": "another",
        "latest_date": "2001-01-01T00:00:00+00:00",
        "earliest_message_date": None,
        "latest_message_received_date": None,
        "latest_message_sent_date": None,
        "unread": False,
        "starred": True,
        "has_attachments": True,
        "has_drafts": False,
        "folder_ids": [],
    }
    thread_id = message(room).thread_id
    plant(Thread.objects.filter(pk=thread_id), **wrong)
    named = only(room)
    assert (named.kind, named.object_type, named.object_id) == (Kind.DERIVED_DIFFERS, "thread", thread_id)
    assert named.mirror == wrong


def test_thread_without_messages_is_named(room: Mailroom) -> None:
    made = Thread.objects.create(account_id=room.id)
    assert (only(room).object_type, only(room).object_id) == ("thread", made.pk)


def test_wrong_counts_of_a_folder_are_named(room: Mailroom) -> None:
    wrong = {"total_count": 9, "unread_count": 8, "child_count": 7}
    inbox = room.folder("INBOX")
    plant(Folder.objects.filter(pk=inbox.pk), **wrong)
    named = only(room)
    assert (named.kind, named.folder, named.object_id) == (Kind.COUNT_DIFFERS, "INBOX", inbox.pk)
    assert (named.mirror, named.server) == (wrong, {"total_count": 3, "unread_count": 2, "child_count": 0})


def test_wrong_place_of_a_folder_is_named(room: Mailroom) -> None:
    inner = room.folder("INBOX/Jahr")
    named = {(one.kind, one.folder): one.server for one in found(room)}
    assert named == {(Kind.DERIVED_DIFFERS, "INBOX/Jahr"): {"parent_id": room.folder("INBOX").pk}}
    plant(Folder.objects.filter(pk=inner.pk), parent=room.folder("INBOX").pk, name="Jahre")
    named = {(one.kind, one.folder): one.server for one in found(room)}
    assert named == {
        (Kind.DERIVED_DIFFERS, "INBOX/Jahr"): {"name": "Jahr"},
        (Kind.COUNT_DIFFERS, "INBOX"): {"child_count": 1},
    }


def test_other_accounts_do_not_matter(room: Mailroom) -> None:
    other = make_mailroom(default_application(), "bo@example.org", shard=1)
    other.add(mail("one"))
    with on_shard(other.id):
        plant(Message.objects.filter(account_id=other.id), copies=5)
        plant(Thread.objects.filter(account_id=other.id), starred=True)
        plant(Folder.objects.filter(account_id=other.id), total_count=5)
        Blob.objects.create(account_id=other.id, sha256=b"\1" * 32, number=0, data=b"")
        assert len(found(other)) == 4
    assert found(room) == []
