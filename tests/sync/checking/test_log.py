"""What the log leaves out or makes up is named, and what was pruned is not held against it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.changelog.models import Transaction
from accounts.changelog.reader import prune
from accounts.changelog.recorder import allow_unlogged, lock_account, record
from accounts.changelog.words import Kind as Op
from accounts.changelog.words import ObjectType
from accounts.services import default_application
from project.shards import on_shard
from sync.checking.log import check_log
from sync.checking.values import Difference, Kind
from sync.models import Message, Thread
from sync.services.holding import delete_messages
from tests.accounts.changelog.rows import ALIASES
from tests.api.mailbox import Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.fixture
def room(db: None) -> Iterator[Mailroom]:
    """An account with a message, a draft, and one that was deleted; its shard is at hand."""
    room = make_mailroom(default_application(), shard=1)
    with on_shard(room.id):
        room.add(mail("kept"))
        room.add(mail("draft"), flags=(r"\Draft",))
        gone = room.add(mail("gone"))
        with lock_account(room.id):
            delete_messages(room.id, [(gone.pk, bytes(gone.sha256), gone.thread_id)])
        yield room


def found(room: Mailroom) -> list[Difference]:
    return list(check_log(room.id))


def say(room: Mailroom, word: ObjectType, object_id: int, op: Op) -> None:
    with lock_account(room.id):
        record(room.id, word, [object_id], op)


def of(one: Difference) -> tuple[object, ...]:
    return one.kind, one.object_type, one.object_id, one.message_id


def rows(room: Mailroom) -> list[Transaction]:
    return list(Transaction.objects.filter(account_id=room.id).order_by("seq"))


def test_log_of_what_a_sync_writes_tells_the_tables(room: Mailroom) -> None:
    assert found(room) == []


def test_object_that_the_log_says_is_gone_is_named(room: Mailroom) -> None:
    kept = Message.objects.get(account_id=room.id, subject="kept")
    say(room, ObjectType.MESSAGE, kept.pk, Op.DELETED)
    (one,) = found(room)
    assert of(one) == (Kind.LOG_MISSING, "message", kept.pk, kept.pk)
    assert (one.mirror, one.server) == ("exists", "deleted")


def test_object_that_the_log_never_names_is_named(room: Mailroom) -> None:
    with allow_unlogged("planted by a test"):
        made = Thread.objects.create(account_id=room.id)
    assert [of(one) for one in found(room)] == [(Kind.LOG_MISSING, "thread", made.pk, None)]
    assert found(room)[0].server is None


def test_object_that_only_the_log_knows_is_named(room: Mailroom) -> None:
    draft = Message.objects.get(account_id=room.id, subject="draft")
    with allow_unlogged("planted by a test"):
        Message.objects.filter(pk=draft.pk).update(is_draft=False)
    assert {of(one) for one in found(room)} == {
        (Kind.LOG_EXTRA, "draft", draft.pk, draft.pk),
        (Kind.LOG_MISSING, "message", draft.pk, draft.pk),
    }


@pytest.mark.parametrize("op", [Op.UPDATED, Op.DELETED])
def test_change_of_what_was_deleted_is_named(room: Mailroom, op: Op) -> None:
    gone = next(row for row in rows(room) if row.kind == Op.DELETED and row.object_type == ObjectType.MESSAGE)
    say(room, ObjectType.MESSAGE, gone.object_id, op)
    assert (Kind.LOG_ORDER, "message", gone.object_id, gone.object_id) in map(of, found(room))


def test_second_creation_is_named(room: Mailroom) -> None:
    kept = Message.objects.get(account_id=room.id, subject="kept")
    say(room, ObjectType.THREAD, kept.thread_id, Op.CREATED)
    (one,) = found(room)
    assert of(one) == (Kind.LOG_ORDER, "thread", kept.thread_id, None)
    assert (one.mirror, one.server) == ("created after created", "updated or deleted")


def test_lost_rows_are_named(room: Mailroom) -> None:
    updates = [row for row in rows(room) if row.kind == Op.UPDATED]
    assert updates
    lost = updates[0].seq
    Transaction.objects.filter(account_id=room.id, seq=lost).delete()
    (one,) = found(room)
    assert (one.kind, one.mirror) == (Kind.LOG_GAP, {"after": lost - 1, "next": lost + 1})
    last = rows(room)[-1].seq
    Transaction.objects.filter(account_id=room.id, seq=last).delete()
    assert {"after": last - 1, "next": last + 1} in [one.mirror for one in found(room)]


def test_lost_creation_is_named_by_its_object_too(room: Mailroom) -> None:
    kept = Message.objects.get(account_id=room.id, subject="kept")
    Transaction.objects.filter(account_id=room.id, object_type=ObjectType.MESSAGE, object_id=kept.pk).delete()
    kinds = {one.kind: of(one) for one in found(room)}
    assert kinds.keys() == {Kind.LOG_GAP, Kind.LOG_MISSING}
    assert kinds[Kind.LOG_MISSING] == (Kind.LOG_MISSING, "message", kept.pk, kept.pk)


def test_pruned_part_is_not_held_against_the_log(room: Mailroom) -> None:
    kept = Message.objects.get(account_id=room.id, subject="kept")
    for up_to in range(1, rows(room)[-1].seq + 1):
        old = timezone.now() - timedelta(days=40)
        Transaction.objects.filter(account_id=room.id, seq__lte=up_to).update(recorded_at=old)
        prune(timezone.now() - timedelta(days=30))
        with allow_unlogged("what was pruned is old"):
            Message.objects.filter(account_id=room.id).update(created_at=old)
        assert found(room) == []
    say(room, ObjectType.MESSAGE, kept.pk, Op.UPDATED)
    assert found(room) == []


def test_new_message_is_missed_also_where_the_log_was_pruned(room: Mailroom) -> None:
    old = timezone.now() - timedelta(days=40)
    Transaction.objects.filter(account_id=room.id, seq__lte=2).update(recorded_at=old)
    prune(timezone.now() - timedelta(days=30))
    with allow_unlogged("planted by a test"):
        thread = Thread.objects.create(account_id=room.id)
        one = Message.objects.create(account_id=room.id, thread=thread, sha256=b"1" * 32, size=1, date=timezone.now())
    assert [of(one) for one in found(room)] == [(Kind.LOG_MISSING, "message", one.pk, one.pk)]
