"""Readers see every change, once, in commit order, whatever writers do meanwhile."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from accounts.changelog.pruning import prune
from accounts.changelog.reader import (
    BadCursor,
    Changes,
    CursorExpired,
    decode_cursor,
    encode_cursor,
    latest,
    read_changes,
)
from accounts.changelog.recorder import Entry, NoHead, lock_account, record_entries
from accounts.changelog.words import Kind, ObjectType
from accounts.models import Account, Notice, Transaction, TransactionHead
from sync.models import Folder, Message, Thread
from tests.accounts.changelog.rows import ALIASES, make_account, make_messages

pytestmark = pytest.mark.django_db(databases=ALIASES)

CREATED, UPDATED, DELETED = Kind.CREATED, Kind.UPDATED, Kind.DELETED


def write(account: Account, *entries: tuple[int, Kind], kind: ObjectType = ObjectType.MESSAGE) -> None:
    """Record changes of objects, each by itself."""
    with lock_account(account.pk):
        for object_id, one in entries:
            record_entries(account.pk, [Entry(kind, object_id, one)])


def told(page: Changes) -> list[tuple[int, str]]:
    return [(change.object_id, change.op) for change in page.rows]


@pytest.mark.parametrize(
    ("kinds", "op"),
    [
        ([CREATED], "created"),
        ([CREATED, UPDATED], "created"),
        ([UPDATED, UPDATED], "updated"),
        ([CREATED, DELETED], "deleted"),
        ([UPDATED, DELETED], "deleted"),
        ([DELETED, CREATED], "updated"),
        ([CREATED, DELETED, CREATED], "created"),
    ],
)
def test_the_last_op_of_a_page_decides(account: Account, kinds: list[Kind], op: str) -> None:
    start = latest(account.pk)
    write(account, *((7, kind) for kind in kinds))
    assert told(read_changes(account.pk, start, 100)) == [(7, op)]


def test_an_object_stands_at_the_place_of_its_last_change(account: Account) -> None:
    start = latest(account.pk)
    write(account, (1, CREATED), (2, CREATED), (1, UPDATED), (3, CREATED))
    page = read_changes(account.pk, start, 100)
    assert told(page) == [(2, "created"), (1, "created"), (3, "created")]
    assert [change.seq - start for change in page.rows] == [2, 3, 4]


def test_the_limit_counts_what_is_read_not_what_is_shown(account: Account) -> None:
    start = latest(account.pk)
    write(account, (1, CREATED), (1, UPDATED), (1, UPDATED), (2, CREATED))
    first = read_changes(account.pk, start, 3)
    assert (told(first), first.has_more) == ([(1, "created")], True)
    second = read_changes(account.pk, first.last_seq, 3)
    assert (told(second), second.has_more, second.last_seq) == ([(2, "created")], False, latest(account.pk))
    assert told(read_changes(account.pk, second.last_seq, 3)) == []


def test_types_hide_changes_and_move_past_them(account: Account) -> None:
    start = latest(account.pk)
    write(account, (1, CREATED), (2, CREATED))
    write(account, (9, CREATED), kind=ObjectType.FOLDER)
    hidden = read_changes(account.pk, start, 2, types={"folder"})
    assert (told(hidden), hidden.has_more, hidden.last_seq) == ([], True, start + 2)
    assert told(read_changes(account.pk, hidden.last_seq, 2, types={"folder"})) == [(9, "created")]


def test_notices_are_shown_only_when_named(account: Account) -> None:
    start = latest(account.pk)
    Notice.objects.create(account_id=account.pk, name="grant.expired", about_type=ObjectType.GRANT)
    assert told(read_changes(account.pk, start, 10)) == []
    assert [change.type for change in read_changes(account.pk, start, 10, types={"notice"}).rows] == ["notice"]


def test_a_deleted_object_comes_with_its_tombstone(account: Account) -> None:
    folder = Folder.objects.create(account_id=account.pk, ref="A", name="Ä", path="Ä")
    folder.delete()
    (_, change) = read_changes(account.pk, None, 10).rows
    assert (change.type, change.op, change.tombstone) == ("folder", "deleted", {"name": "Ä", "system_folder": False})


@pytest.mark.django_db(databases=ALIASES)
def test_an_account_that_never_was_has_no_log() -> None:
    with pytest.raises(NoHead):
        read_changes(4711, None, 10)
    with pytest.raises(NoHead):
        latest(4711)


def test_pruning_expires_old_places_and_keeps_new_ones(account: Account) -> None:
    write(account, *((n, CREATED) for n in range(5)))
    assert read_changes(account.pk, None, 100).complete
    old = timezone.now() - timedelta(days=31)
    Transaction.objects.filter(account_id=account.pk, seq__lte=3).update(recorded_at=old)
    assert prune(timezone.now() - timedelta(days=30)).transactions == 3
    page = read_changes(account.pk, None, 100)
    assert (page.complete, [change.seq for change in page.rows]) == (False, [4, 5, 6])
    assert [change.seq for change in read_changes(account.pk, 3, 100).rows] == [4, 5, 6]
    for place in (0, 2, 7):
        with pytest.raises(CursorExpired):
            read_changes(account.pk, place, 100)
    assert prune(timezone.now() - timedelta(days=30)).transactions == 0


def test_pruning_forgets_notices_and_the_heads_of_accounts_long_gone(account: Account) -> None:
    Notice.objects.create(account_id=account.pk, name="x", about_type=ObjectType.GRANT)
    gone = make_account("gone@example.org")
    gone_id = gone.pk
    gone.delete()
    assert [change.op for change in read_changes(gone_id, None, 10).rows] == ["deleted"]
    pruned = prune(timezone.now() + timedelta(minutes=1))
    assert (pruned.notices, pruned.heads) == (1, 1)
    assert list(TransactionHead.objects.values_list("pk", flat=True)) == [account.pk]
    with pytest.raises(NoHead):
        read_changes(gone_id, None, 10)


def test_cursors_are_bound_to_their_account_and_tamper_proof() -> None:
    cursor = encode_cursor(7, 123)
    assert decode_cursor(7, cursor) == 123
    assert len(cursor) <= 40
    altered = [cursor[:place] + chr(ord(letter) ^ 1) + cursor[place + 1 :] for place, letter in enumerate(cursor)]
    for other in [*altered, "", "x", cursor + "A", cursor + "=", cursor[:-1], "é" * 34, "\x00"]:
        with pytest.raises(BadCursor):
            decode_cursor(7, other)
    with pytest.raises(BadCursor):
        decode_cursor(8, cursor)


def test_cursors_of_an_older_key_are_still_read(settings: Settings) -> None:
    cursor = encode_cursor(7, 123)
    settings.ENCRYPTION_KEYS = ["n" * 40, *settings.ENCRYPTION_KEYS]
    assert decode_cursor(7, cursor) == 123
    assert encode_cursor(7, 123) != cursor
    settings.ENCRYPTION_KEYS = ["n" * 40]
    with pytest.raises(BadCursor):
        decode_cursor(7, cursor)


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_four_writers_and_a_reader_that_misses_nothing() -> None:
    """Two thousand changes, committed in fours while we read: all are seen, in order, without a gap."""
    account = make_account()
    start = latest(account.pk)
    failures: list[BaseException] = []

    def write_changes(writer: int) -> None:
        try:
            for number in range(125):
                with lock_account(account.pk):
                    record_entries(
                        account.pk,
                        [Entry(ObjectType.MESSAGE, writer * 1000 + number * 4 + n, CREATED) for n in range(4)],
                    )
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write_changes, args=(writer,)) for writer in range(4)]
    for writer in writers:
        writer.start()
    seen: list[tuple[int, int]] = []
    place = start
    while any(writer.is_alive() for writer in writers) or place < latest(account.pk):
        page = read_changes(account.pk, place, random.randint(1, 50))
        seen += [(change.seq, change.object_id) for change in page.rows]
        place = page.last_seq
    for writer in writers:
        writer.join()
    assert not failures
    assert [seq for seq, _ in seen] == list(range(start + 1, start + 2001))
    ids = [object_id for _, object_id in seen]
    assert sorted(ids) == [writer * 1000 + n for writer in range(4) for n in range(500)]
    for number in range(4):
        mine = [one for one in ids if one // 1000 == number]
        assert mine == sorted(mine)


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_a_change_is_invisible_until_its_transaction_commits() -> None:
    account = make_account()
    start = latest(account.pk)
    pages: list[Changes] = []

    def read() -> None:
        pages.append(read_changes(account.pk, start, 10))
        connections.close_all()

    with lock_account(account.pk):
        Thread.objects.create(account_id=account.pk)
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(10)
    read_changes(account.pk, start, 10)
    assert [told(page) for page in pages] == [[]]
    assert len(read_changes(account.pk, start, 10).rows) == 1


def test_messages_and_drafts_are_different_objects(account: Account) -> None:
    start = latest(account.pk)
    (pk,) = make_messages(account, 1, is_draft=True)
    place = latest(account.pk)
    make = read_changes(account.pk, start, 10)
    assert [(change.type, change.op) for change in make.rows] == [("thread", "created"), ("draft", "created")]
    Message.objects.filter(pk=pk).update(is_draft=False)
    turned = read_changes(account.pk, place, 10)
    assert [(change.type, change.op) for change in turned.rows] == [("draft", "deleted"), ("message", "created")]
