"""Differences from the server, planted past every door, are named by folder, UID and message, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import F

from accounts.changelog.recorder import allow_unlogged
from sync.checking.values import Kind
from sync.models import Blob, Folder, FolderMessage, Message, SyncState, Thread
from sync.services.checking import check_account
from tests.sync.checking.conftest import LETTERS, Named, expected, named, note
from tests.sync.conftest import Connected

pytestmark = pytest.mark.parametrize("connected", ["dovecot"], indirect=True)

Plant = Callable[[Connected], set[Named]]


def folder_missing(connected: Connected) -> set[Named]:
    sent = Folder.objects.filter(account_id=connected.account_id, role="sent", total_count=0).get()
    SyncState.objects.filter(folder=sent).delete()
    Folder.objects.filter(pk=sent.pk)._raw_delete("default")
    return {expected(Kind.FOLDER_MISSING, sent.path), expected(Kind.LOG_EXTRA, of=("folder", sent.pk))}


def folder_extra(connected: Connected) -> set[Named]:
    made = Folder.objects.create(
        account_id=connected.account_id, ref="Ärger", name="Ärger", path="Ärger", delimiter="/"
    )
    return {
        expected(Kind.FOLDER_EXTRA, "Ärger"),
        expected(Kind.LOG_MISSING, of=("folder", made.pk)),
    }


def folder_differs(connected: Connected) -> set[Named]:
    folder = connected.folder(LETTERS)
    Folder.objects.filter(pk=folder.pk).update(path="elsewhere/Письма")
    return {
        expected(Kind.FOLDER_DIFFERS, "elsewhere/Письма"),
        expected(Kind.DERIVED_DIFFERS, "elsewhere/Письма", of=("folder", folder.pk)),
    }


def folder_cannot_be_opened(connected: Connected) -> set[Named]:
    Folder.objects.filter(pk=connected.folder(LETTERS).pk).update(selectable=False)
    return {expected(Kind.FOLDER_DIFFERS, LETTERS)}


def uidvalidity_differs(connected: Connected) -> set[Named]:
    state = SyncState.objects.get(folder=connected.folder(LETTERS))
    assert state.cursor is not None
    state.cursor["uidvalidity"] += 1
    state.save()
    return {expected(Kind.UIDVALIDITY_DIFFERS, LETTERS)}


def message_missing(connected: Connected) -> set[Named]:
    one = note(connected, 0, LETTERS)
    one.copy.delete()
    Message.objects.filter(pk=one.message.pk).update(copies=1, folder_ids=[connected.folder("INBOX").pk])
    Folder.objects.filter(path=LETTERS).update(total_count=F("total_count") - 1, unread_count=F("unread_count") - 1)
    Thread.objects.filter(pk=one.message.thread_id).update(folder_ids=[connected.folder("INBOX").pk])
    return {expected(Kind.MESSAGE_MISSING, LETTERS, uid=one.uid)}


def message_extra(connected: Connected) -> set[Named]:
    one = note(connected, 0, LETTERS)
    FolderMessage.objects.create(**_copied(one.copy), remote_id="4000")
    Folder.objects.filter(path=LETTERS).update(total_count=F("total_count") + 1, unread_count=F("unread_count") + 1)
    Message.objects.filter(pk=one.message.pk).update(copies=3)
    return {expected(Kind.MESSAGE_EXTRA, LETTERS, uid=4000, message=one.message.pk)}


def message_of_no_uid(connected: Connected) -> set[Named]:
    one = note(connected, 0, LETTERS)
    FolderMessage.objects.create(**_copied(one.copy), remote_id="x")
    Folder.objects.filter(path=LETTERS).update(total_count=F("total_count") + 1, unread_count=F("unread_count") + 1)
    Message.objects.filter(pk=one.message.pk).update(copies=3)
    return {expected(Kind.MESSAGE_EXTRA, LETTERS, message=one.message.pk)}


def message_doubled(connected: Connected) -> set[Named]:
    one = note(connected, 0, LETTERS)
    FolderMessage.objects.create(**_copied(one.copy), remote_id=f"0{one.uid}")
    Folder.objects.filter(path=LETTERS).update(total_count=F("total_count") + 1, unread_count=F("unread_count") + 1)
    Message.objects.filter(pk=one.message.pk).update(copies=3)
    return {expected(Kind.MESSAGE_DOUBLED, LETTERS, uid=one.uid, message=one.message.pk)}


def _copied(copy: FolderMessage) -> dict[str, Any]:
    names = ("account_id", "folder_id", "message_id", "flags", "internal_date", "date")
    return {name: getattr(copy, name) for name in names}


def flags_differ(connected: Connected) -> set[Named]:
    one = note(connected, 2)
    FolderMessage.objects.filter(pk=one.copy.pk).update(flags=[r"\Answered"])
    Message.objects.filter(pk=one.message.pk).update(flags=[r"\Answered"])
    return {expected(Kind.FLAGS_DIFFER, "INBOX", uid=one.uid, message=one.message.pk)}


def date_differs(connected: Connected) -> set[Named]:
    one = note(connected, 4)
    FolderMessage.objects.filter(pk=one.copy.pk).update(internal_date="2001-01-01T00:00Z", date="2001-01-01T00:00Z")
    Message.objects.filter(pk=one.message.pk).update(date="2001-01-01T00:00Z")
    Thread.objects.filter(pk=one.message.thread_id).update(
        earliest_message_date="2001-01-01T00:00Z", subject=one.message.subject
    )
    return {expected(Kind.DATE_DIFFERS, "INBOX", uid=one.uid, message=one.message.pk)}


def size_differs(connected: Connected) -> set[Named]:
    one = note(connected, 2)
    _point_elsewhere(one.message, b"Subject: another\r\n\r\n")
    return {expected(Kind.SIZE_DIFFERS, "INBOX", uid=one.uid, message=one.message.pk)}


def size_of_message_differs(connected: Connected) -> set[Named]:
    one = note(connected, 2)
    Message.objects.filter(pk=one.message.pk).update(size=one.message.size + 5)
    return {expected(Kind.SIZE_DIFFERS, "INBOX", uid=one.uid, message=one.message.pk)}


def content_differs(connected: Connected) -> set[Named]:
    one = note(connected, 2)
    _point_elsewhere(one.message, b"y" * one.message.size)
    return {expected(Kind.CONTENT_DIFFERS, "INBOX", uid=one.uid, message=one.message.pk)}


def _point_elsewhere(message: Message, raw: bytes) -> None:
    """Let a message be another mail, whole in itself."""
    from sync import blobs

    frames = blobs.compress(raw)
    Blob.objects.filter(account_id=message.account_id, sha256=message.sha256).delete()
    blobs.store_frames(message.account_id, [frames])
    Message.objects.filter(pk=message.pk).update(sha256=frames.sha256, size=frames.size)


def blob_missing(connected: Connected) -> set[Named]:
    one = note(connected, 9, LETTERS)
    Blob.objects.filter(account_id=connected.account_id, sha256=one.message.sha256, number=1).delete()
    return {
        # by the messages of the folder, and by the rows of the message
        expected(Kind.BLOB_MISSING, LETTERS, uid=one.uid, message=one.message.pk),
        expected(Kind.BLOB_MISSING, LETTERS, message=one.message.pk),
    }


def blob_unreadable(connected: Connected) -> set[Named]:
    one = note(connected, 9, LETTERS)
    Blob.objects.filter(sha256=one.message.sha256, number=1).update(data=b"damaged")
    return {expected(Kind.BLOB_MISSING, LETTERS, uid=one.uid, message=one.message.pk)}


def blob_damaged(connected: Connected) -> set[Named]:
    one, other = note(connected, 2), note(connected, 3)
    data = Blob.objects.get(sha256=other.message.sha256).data
    Blob.objects.filter(sha256=one.message.sha256).update(data=data)
    return {expected(Kind.BLOB_DAMAGED, "INBOX", uid=one.uid, message=one.message.pk)}


PLANTS: tuple[Plant, ...] = (
    folder_missing,
    folder_extra,
    folder_differs,
    folder_cannot_be_opened,
    uidvalidity_differs,
    message_missing,
    message_extra,
    message_of_no_uid,
    message_doubled,
    flags_differ,
    date_differs,
    size_differs,
    size_of_message_differs,
    content_differs,
    blob_missing,
    blob_unreadable,
    blob_damaged,
)


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.__name__ for plant in PLANTS])
def test_difference_planted_into_the_tables_is_named(filled: Connected, plant: Plant) -> None:
    with allow_unlogged("planted by a test"):
        wanted = plant(filled)
    found = check_account(filled.account_id, contents=True).differences
    assert {named(one) for one in found} == wanted
