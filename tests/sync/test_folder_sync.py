"""Real servers, mirrored: what changes there is what changes here, and nothing else is in the log."""

from __future__ import annotations

from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from accounts.changelog.reader import latest, read_changes
from sync.models import AccountSync, Message, RememberedMessage, Thread
from sync.services import folder_sync, holding, schedule, sessions
from sync.services.leases import claim_folder
from sync.services.schedule import request_pass
from tests.servers.dovecot import Dovecot, DovecotMailbox
from tests.sync.conftest import Connected, connect

WHEN = datetime(2024, 5, 17, 9, 30, tzinfo=UTC)


def mail(number: int, *, answers: int | None = None, size: int = 0) -> bytes:
    """A small mail with a Message-ID of its own."""
    message = EmailMessage()
    message["From"], message["To"] = "Ada <ada@example.com>", "Bo <bo@example.com>"
    message["Subject"] = f"Note {number}"
    message["Message-ID"] = f"<note-{number}@example.com>"
    message["Date"] = "Fri, 17 May 2024 09:30:00 +0000"
    if answers is not None:
        message["In-Reply-To"] = f"<note-{answers}@example.com>"
    message.set_content(f"This is note {number}.\n" + "x" * size)
    return message.as_bytes().replace(b"\n", b"\r\n")


def changes_since(connected: Connected, seq: int) -> list[tuple[str, str, int]]:
    rows = read_changes(connected.account_id, seq, 500).rows
    return [(row.type, row.op, row.object_id) for row in rows]


@pytest.fixture
def filled(connected: Connected) -> Connected:
    for number in range(5):
        connected.server.append("INBOX", mail(number), [r"\Seen"] if number % 2 else [], WHEN)
    connected.server.create("Archive2")
    connected.mirror()
    return connected


def test_mirror_is_byte_for_byte_what_the_server_holds(filled: Connected) -> None:
    mirrored = filled.mirrored()
    assert len(mirrored["INBOX"]) == 5
    assert mirrored == filled.on_server()
    assert filled.folder("INBOX").total_count == 5
    assert filled.folder("INBOX").unread_count == 3


def test_unchanged_mailbox_writes_nothing_to_the_log(filled: Connected) -> None:
    before = latest(filled.account_id)
    filled.mirror()
    assert latest(filled.account_id) == before


def test_flags_expunges_and_new_mail_follow(filled: Connected) -> None:
    uids = filled.server.uids("INBOX")
    gone = Message.objects.get(account_id=filled.account_id, subject="Note 4")
    filled.server.flag("INBOX", uids[0], add=[r"\Flagged", "$Forwarded"])
    filled.server.expunge("INBOX", uids[4])
    filled.server.append("INBOX", mail(9), [], WHEN)
    before = latest(filled.account_id)
    filled.mirror()
    assert filled.mirrored() == filled.on_server()
    first = Message.objects.get(account_id=filled.account_id, subject="Note 0")
    assert first.starred
    assert "$Forwarded" in first.flags
    changes = changes_since(filled, before)
    assert ("message", "deleted", gone.pk) in changes
    assert ("message", "updated", first.pk) in changes


def test_moved_message_keeps_its_id(filled: Connected) -> None:
    message = Message.objects.get(account_id=filled.account_id, subject="Note 2")
    before = latest(filled.account_id)
    filled.server.move("INBOX", filled.server.uids("INBOX")[2], "Archive2")
    filled.mirror()
    assert filled.paths_of(message) == ["Archive2"]
    ops = [op for kind, op, pk in changes_since(filled, before) if kind == "message" and pk == message.pk]
    assert ops == ["updated"]
    assert filled.mirrored() == filled.on_server()


def test_message_that_lost_its_copy_is_shown_until_the_other_folders_were_compared(filled: Connected) -> None:
    message = Message.objects.get(account_id=filled.account_id, subject="Note 2")
    before = latest(filled.account_id)
    filled.server.move("INBOX", filled.server.uids("INBOX")[2], "Archive2")
    lease = claim_folder(filled.folder("INBOX").pk)
    assert lease is not None
    assert folder_sync.sync_folder(lease).vanished == 1
    schedule.release_folder(lease, provable=True)
    holding.settle(filled.account_id)
    assert filled.paths_of(message) == ["INBOX"]
    assert not [op for kind, op, pk in changes_since(filled, before) if kind == "message" and pk == message.pk]
    filled.mirror()
    assert filled.paths_of(message) == ["Archive2"]
    ops = [op for kind, op, pk in changes_since(filled, before) if kind == "message" and pk == message.pk]
    assert ops == ["updated"]


def test_copy_is_one_message_in_two_folders(filled: Connected) -> None:
    message = Message.objects.get(account_id=filled.account_id, subject="Note 1")
    filled.server.copy("INBOX", filled.server.uids("INBOX")[1], "Archive2")
    filled.mirror()
    assert filled.paths_of(message) == ["Archive2", "INBOX"]
    assert message.copies == 2


def test_renamed_folder_keeps_its_id_and_its_messages(filled: Connected) -> None:
    filled.server.move("INBOX", filled.server.uids("INBOX")[0], "Archive2")
    filled.mirror()
    folder = filled.folder("Archive2")
    message = Message.objects.get(account_id=filled.account_id, subject="Note 0")
    filled.server.rename("Archive2", "Été 2024")
    filled.mirror()
    assert filled.folder("Été 2024").pk == folder.pk
    assert filled.paths_of(message) == ["Été 2024"]
    assert filled.mirrored() == filled.on_server()


@pytest.mark.parametrize("name", ["dovecot", "dovecot_plain"])
def test_folder_under_the_uidvalidity_of_a_gone_one_is_not_taken_for_it(
    name: str, request: pytest.FixtureRequest, transactional_db: None
) -> None:
    dovecot: Dovecot = request.getfixturevalue(name)
    connected = connect(dovecot.new_user())
    with connected.server, dovecot.connect(connected.user) as server:
        assert isinstance(server, DovecotMailbox)
        for folder, numbers in (("Gone", (1, 2, 3)), ("Fresh", (3, 4, 5))):
            server.create(folder)
            for number in numbers:
                server.append(folder, mail(number), [], WHEN)
            if folder == "Gone":
                connected.mirror()
                uidvalidity = server.status(folder, "UIDVALIDITY")
                server.delete(folder)
        server.set_uidvalidity("Fresh", uidvalidity)
        kept = Message.objects.get(account_id=connected.account_id, subject="Note 3")
        connected.mirror()
        assert connected.mirrored() == connected.on_server()
        assert connected.paths_of(kept) == ["Fresh"]
    sessions.close_idle(older_than=0)


def test_deleted_folder_takes_its_messages_along(filled: Connected) -> None:
    filled.server.move("INBOX", filled.server.uids("INBOX")[0], "Archive2")
    filled.mirror()
    message = Message.objects.get(account_id=filled.account_id, subject="Note 0")
    folder = filled.folder("Archive2")
    before = latest(filled.account_id)
    filled.server.delete("Archive2")
    filled.mirror()
    changes = changes_since(filled, before)
    assert ("message", "deleted", message.pk) in changes
    assert ("folder", "deleted", folder.pk) in changes


def test_message_that_comes_back_within_a_day_gets_its_id_back(filled: Connected) -> None:
    message = Message.objects.get(account_id=filled.account_id, subject="Note 3")
    filled.server.expunge("INBOX", filled.server.uids("INBOX")[3])
    filled.mirror()
    assert RememberedMessage.objects.filter(message_id=message.pk).exists()
    filled.server.append("INBOX", mail(3), [], WHEN)
    filled.mirror()
    assert Message.objects.get(account_id=filled.account_id, subject="Note 3").pk == message.pk


def test_replies_join_their_thread_in_any_order(connected: Connected) -> None:
    connected.server.append("INBOX", mail(3, answers=2), [], WHEN)
    connected.server.append("INBOX", mail(1), [], WHEN)
    connected.mirror()
    assert Thread.objects.filter(account_id=connected.account_id).count() == 2
    connected.server.append("INBOX", mail(2, answers=1), [], WHEN)
    connected.mirror()
    threads = Message.objects.filter(account_id=connected.account_id).values_list("thread_id", flat=True)
    assert len(set(threads)) == 1
    assert Thread.objects.filter(account_id=connected.account_id).count() == 1


def test_fence_counts_what_was_on_the_server_before_the_request(filled: Connected) -> None:
    filled.server.append("INBOX", mail(20), [], WHEN)
    number = request_pass(account_id=filled.account_id)
    filled.mirror()
    assert AccountSync.objects.get(pk=filled.account_id).completed >= number
    assert Message.objects.filter(account_id=filled.account_id, subject="Note 20").exists()


def test_large_mail_is_mirrored_whole(connected: Connected) -> None:
    connected.server.append("INBOX", mail(1, size=3_000_000).replace(b"x" * 70, b"x" * 68 + b"\r\n"), [], WHEN)
    connected.mirror()
    assert connected.mirrored() == connected.on_server()
