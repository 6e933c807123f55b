"""Every way of writing to a logged model locks its account first and records exactly what it wrote."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext

from accounts.changelog.locks import LockOrder
from accounts.changelog.recorder import lock_account, record
from accounts.changelog.rows import Row
from accounts.changelog.signals import account_changed
from accounts.changelog.words import Kind, ObjectType
from accounts.models import Account, Notice, Transaction, TransactionHead
from project.shards import alias_at_hand, on_shard
from sync.models import Body, Folder, FolderMessage, Message, Part, Thread, ThreadKey
from tests.accounts.changelog.rows import ALIASES, DATE, kinds, make_account, make_messages, message_row, rows_of

pytestmark = pytest.mark.django_db(databases=ALIASES)


def told(account: Account, write: Callable[[], object]) -> list[str]:
    """Return what a write adds to the log."""
    before = len(kinds(account))
    write()
    return kinds(account)[before:]


def test_a_new_account_gets_its_head_and_is_recorded(account: Account) -> None:
    head = TransactionHead.objects.get(pk=account.pk)
    assert (head.application_id, head.last_seq, head.pruned_seq) == (1, 1, 0)
    assert kinds(account) == ["grant created"]


def test_saving_records_created_then_updated(account: Account) -> None:
    folder = Folder(account_id=account.pk, ref="INBOX", name="INBOX", path="INBOX")
    assert told(account, folder.save) == ["folder created"]
    assert told(account, folder.save) == ["folder updated"]
    assert told(account, lambda: folder.save(update_fields=["name"])) == ["folder updated"]


def test_internal_columns_alone_are_not_recorded(account: Account) -> None:
    folder = Folder.objects.create(account_id=account.pk, ref="INBOX", name="INBOX", path="INBOX")
    mine = Folder.objects.filter(pk=folder.pk)
    assert told(account, lambda: folder.save(update_fields=["stable_id"])) == []
    assert told(account, lambda: mine.update(stable_id="x", ref="y")) == []
    assert told(account, lambda: mine.bulk_update_values([folder.pk], {"stable_id": ["z"]})) == []
    assert told(account, lambda: mine.update(stable_id="x", name="y")) == ["folder updated"]


def test_deleting_an_object_records_it_with_its_tombstone(account: Account) -> None:
    folder = Folder.objects.create(account_id=account.pk, ref="INBOX", name="Old", path="INBOX", system_folder=True)
    stale = Folder.objects.get(pk=folder.pk)
    Folder.objects.filter(pk=folder.pk).update(name="New")
    assert told(account, stale.delete) == ["folder deleted"]
    last = rows_of(account)[-1]
    assert (last.object_id, last.tombstone) == (folder.pk, {"name": "New", "system_folder": True})


def test_deleting_what_is_gone_already_records_nothing(account: Account) -> None:
    thread = Thread.objects.create(account_id=account.pk)
    stale = Thread.objects.get(pk=thread.pk)
    assert told(account, thread.delete) == ["thread deleted"]
    assert told(account, stale.delete) == []


def test_cascades_are_recorded_by_object_and_in_bulk(account: Account) -> None:
    make_messages(account, 3)
    thread = Thread.objects.get()
    ThreadKey.objects.create(account_id=account.pk, key=b"k" * 16, thread=thread)
    assert sorted(told(account, thread.delete)) == ["message deleted"] * 3 + ["thread deleted"]
    make_messages(account, 3)
    assert sorted(told(account, Thread.objects.all().delete)) == ["message deleted"] * 3 + ["thread deleted"]


def test_related_managers_take_the_same_doors(account: Account) -> None:
    make_messages(account, 2)
    thread = Thread.objects.get()
    assert told(account, lambda: account.folders.create(ref="A", name="A", path="A")) == ["folder created"]
    assert told(account, lambda: thread.messages.update(subject="x")) == ["message updated"] * 2
    assert told(account, thread.messages.all().delete) == ["message deleted"] * 2
    assert told(account, lambda: account.folders.get_or_create(ref="B", defaults={"name": "B"})) == ["folder created"]
    assert told(account, lambda: account.folders.get_or_create(ref="B")) == []


def test_bulk_doors_record_each_row_once(account: Account) -> None:
    folders = [Folder(account_id=account.pk, ref=ref, name=ref, path=ref) for ref in "abc"]
    assert told(account, lambda: Folder.objects.bulk_create(folders)) == ["folder created"] * 3
    for folder in folders:
        folder.name = folder.name.upper()
    assert told(account, lambda: Folder.objects.bulk_update(folders, ["name"])) == ["folder updated"] * 3
    assert sorted(Folder.objects.values_list("name", flat=True)) == ["A", "B", "C"]
    assert (
        told(account, lambda: Folder.objects.filter(name__in=["A", "B"]).update(child_count=1))
        == ["folder updated"] * 2
    )
    assert told(account, lambda: Folder.objects.exclude(name="A").delete()) == ["folder deleted"] * 2


def test_update_or_create_records_what_it_did(account: Account) -> None:
    one: dict[str, Any] = {"account_id": account.pk, "ref": "A"}
    assert told(account, lambda: Folder.objects.update_or_create({"name": "a"}, **one)) == ["folder created"]
    assert told(account, lambda: Folder.objects.update_or_create({"name": "b"}, **one)) == ["folder updated"]
    found = Folder.objects.get()
    assert told(account, lambda: Folder.objects.update_or_create({"name": "c"}, pk=found.pk)) == ["folder updated"]
    with pytest.raises(LockOrder, match="name the account"):
        Folder.objects.get_or_create(ref="no such")


def test_conflicts_cannot_be_passed_over(account: Account) -> None:
    row = Folder(account_id=account.pk, ref="A")
    with pytest.raises(NotImplementedError):
        Folder.objects.bulk_create([row], ignore_conflicts=True)
    with pytest.raises(NotImplementedError):
        Folder.objects.bulk_create([row], update_conflicts=True, unique_fields=["ref"], update_fields=["name"])
    with pytest.raises(NotImplementedError):
        Account.objects.bulk_create([Account(application_id=1, email="b@example.org", provider="imap")])


@pytest.mark.parametrize("door", ["save", "update", "bulk_update", "bulk_update_values"])
def test_a_draft_that_becomes_a_message_is_deleted_and_created(account: Account, door: str) -> None:
    (pk,) = make_messages(account, 1, is_draft=True)
    message = Message.objects.get(pk=pk)
    message.is_draft = False
    doors: dict[str, Callable[[], object]] = {
        "save": message.save,
        "update": lambda: Message.objects.filter(pk=pk).update(is_draft=False),
        "bulk_update": lambda: Message.objects.bulk_update([message], ["is_draft"]),
        "bulk_update_values": lambda: Message.objects.bulk_update_values([pk], {"is_draft": [False]}),
    }
    assert kinds(account)[-1] == "draft created"
    assert told(account, doors[door]) == ["draft deleted", "message created"]
    again = [] if door.startswith("bulk") else ["message updated"]
    assert told(account, doors[door]) == again
    assert told(account, Message.objects.filter(pk=pk).delete) == ["message deleted"]


def test_fast_updates_write_and_record_only_what_differs(account: Account) -> None:
    ids = make_messages(account, 3, subject="old")
    values: dict[str, list[Any]] = {
        "subject": ["old", "new", 'n"\\{},\n'],
        "flags": [[], ["\\Seen"], []],
        "header_date": [None, DATE, None],
    }
    written = 0

    def write() -> None:
        nonlocal written
        written = Message.objects.bulk_update_values(ids, values)

    assert told(account, write) == ["message updated"] * 2
    assert written == 2
    assert [row.object_id for row in rows_of(account)[-2:]] == ids[1:]
    stored = dict(Message.objects.values_list("pk", "subject"))
    assert [stored[pk] for pk in ids] == values["subject"]
    assert told(account, write) == []


def test_fast_inserts_keep_every_kind_of_value(account: Account) -> None:
    thread = Thread.objects.create(account_id=account.pk)
    wide: dict[str, Any] = {
        "subject": 'quotes " \\ { } , NULL \t\n снег 雪 🙂',
        "from_addresses": [{"name": 'A "B" \\', "email": "a@example.org"}],
        "flags": ['a"b', "c\\d", "e,f{g}", "", "NULL"],
        "folder_ids": [1, 2**60],
        "defects": [],
        "header_date": None,
        "is_draft": True,
        "sha256": bytes(range(32)),
        "date": DATE.replace(microsecond=123456),
    }
    plain = {**wide, "subject": "", "sha256": bytes(32), "flags": [], "header_date": DATE}
    rows: list[Row] = [message_row(account.pk, thread.pk, 1, **row) for row in (wide, plain)]
    ids = Message.objects.bulk_insert(rows)
    for pk, row in zip(ids, (wide, plain), strict=True):
        message = Message.objects.get(pk=pk)
        message.sha256 = bytes(message.sha256)
        assert {name: getattr(message, name) for name in row} == row
        assert (message.snippet, message.copies, message.to_addresses, message.held_by) == ("", 0, [], None)
        assert message.created_at is not None


def test_fast_inserts_take_instances_and_refuse_uneven_rows(account: Account) -> None:
    thread = Thread.objects.create(account_id=account.pk)
    messages: list[Model] = [Message(**message_row(account.pk, thread.pk, n)) for n in range(3)]
    assert told(account, lambda: Message.objects.bulk_insert(messages)) == ["message created"] * 3
    assert [message.pk for message in messages] == list(Message.objects.order_by("size").values_list("pk", flat=True))
    uneven: list[Row] = [{"account_id": account.pk}, {"account_id": account.pk, "subject": "x"}]
    with pytest.raises(ValueError, match="differ"):
        Thread.objects.bulk_insert(uneven)


@pytest.mark.django_db(databases=ALIASES)
def test_a_write_to_several_accounts_locks_and_records_in_each() -> None:
    accounts = [make_account(f"{n}@example.org") for n in range(3)]
    for one in accounts:
        Thread.objects.create(account_id=one.pk)
    Thread.objects.update(subject="x")
    assert [kinds(one)[-1] for one in accounts] == ["thread updated"] * 3


def test_a_write_that_fails_is_not_recorded(account: Account) -> None:
    Folder.objects.create(account_id=account.pk, ref="A")

    def write() -> None:
        with lock_account(account.pk):
            Folder.objects.create(account_id=account.pk, ref="B")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert kinds(account) == ["grant created", "folder created"]
    assert TransactionHead.objects.get(pk=account.pk).last_seq == len(rows_of(account))


def test_recording_needs_the_lock(account: Account) -> None:
    with pytest.raises(LockOrder, match="without its lock"):
        record(account.pk, ObjectType.THREAD, [1], Kind.UPDATED)


def test_seqs_have_no_gap_and_objects_appear_once_a_call(account: Account) -> None:
    with lock_account(account.pk):
        record(account.pk, ObjectType.THREAD, [5, 6, 5], Kind.UPDATED)
        record(account.pk, ObjectType.THREAD, [], Kind.UPDATED)
    rows = rows_of(account)
    assert [(row.seq, row.object_id) for row in rows[1:]] == [(2, 5), (3, 6)]


def test_a_notice_is_recorded_as_created(account: Account) -> None:
    assert told(
        account,
        lambda: Notice.objects.create(
            account_id=account.pk, name="grant.expired", about_type=ObjectType.GRANT, facts={"code": 25009}
        ),
    ) == ["notice created"]


def test_ten_thousand_deletes_need_few_queries(account: Account) -> None:
    ids = make_messages(account, 10_000)
    folder = Folder.objects.create(account_id=account.pk, ref="A")
    FolderMessage.objects.bulk_create(
        FolderMessage(account_id=account.pk, folder=folder, message_id=pk, remote_id=str(pk), date=DATE) for pk in ids
    )
    Body.objects.bulk_create(Body(account_id=account.pk, message_id=pk) for pk in ids)
    with CaptureQueriesContext(connections[alias_at_hand()]) as queries:
        deleted, counts = Message.objects.filter(account_id=account.pk).delete()
    assert (deleted, counts["sync.Message"], counts["sync.Body"]) == (30_000, 10_000, 10_000)
    assert len(queries) < 200
    assert kinds(account)[-10_000:] == ["message deleted"] * 10_000
    assert not Part.objects.exists()
    assert not FolderMessage.objects.exists()


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_an_accounts_news_are_told_once_and_after_the_commit() -> None:
    account = make_account()
    heard: list[tuple[int, int]] = []

    def hear(account_id: int, **_signal: object) -> None:
        heard.append((account_id, Transaction.objects.filter(account_id=account_id).count()))

    account_changed.connect(hear)
    try:
        with lock_account(account.pk):
            Thread.objects.create(account_id=account.pk)
            Thread.objects.create(account_id=account.pk)
            assert heard == []
    finally:
        account_changed.disconnect(hear)
    assert heard == [(account.pk, 3)]


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_no_door_waits_for_another_in_a_circle() -> None:
    """Each door against each, in two threads, on the same rows of two accounts: a deadlock would raise."""
    accounts = [make_account("ada@example.org"), make_account("bob@example.org")]
    for one in accounts:
        Folder.objects.bulk_create(Folder(account_id=one.pk, ref=ref, name=ref) for ref in "abcd")

    def locked_rows(refs: list[str]) -> None:
        with transaction.atomic():
            for folder in Folder.objects.select_for_update().filter(ref__in=refs).order_by("-pk"):
                folder.name = "locked"
                folder.save()

    def delete_and_make(refs: list[str]) -> None:
        owner = random.choice(accounts)
        with lock_account(owner.pk):
            Folder.objects.filter(account_id=owner.pk, ref=refs[0]).delete()
            Folder.objects.create(account_id=owner.pk, ref=refs[0], name="again")

    def in_bulk(refs: list[str]) -> None:
        rows = list(Folder.objects.filter(ref__in=refs).order_by("-pk"))
        for row in rows:
            row.child_count += 1
        Folder.objects.bulk_update(rows, ["child_count"])

    doors: list[Callable[[list[str]], object]] = [
        locked_rows,
        delete_and_make,
        in_bulk,
        lambda refs: Folder.objects.filter(ref__in=refs).update(name="updated"),
        lambda refs: Folder.objects.filter(ref=refs[0]).order_by("-pk")[0].save(force_update=True),
        lambda refs: Folder.objects.update_or_create(
            {"name": "either"}, account_id=random.choice(accounts).pk, ref=refs[0]
        ),
        lambda refs: Folder.objects.bulk_update_values(
            ids := list(Folder.objects.filter(ref__in=refs).values_list("pk", flat=True)),
            {"name": ["fast"] * len(ids)},
        ),
    ]
    failures: list[BaseException] = []

    def write(order: list[int]) -> None:
        try:
            for number in order:
                refs = random.sample("abcd", 3)
                try:
                    with on_shard(shard=0):
                        doors[number](refs)
                except (DatabaseError, IndexError) as error:
                    # the other thread deleted it between our reading and our writing; nothing else may fail
                    if isinstance(error, DatabaseError) and "did not affect any rows" not in str(error):
                        raise
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    pairs = [(one, other) for one in range(len(doors)) for other in range(len(doors))]
    threads = [
        threading.Thread(target=write, args=([pair[side] for pair in pairs for _ in range(3)],)) for side in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    for one in accounts:
        assert [row.seq for row in rows_of(one)] == list(range(1, TransactionHead.objects.get(pk=one.pk).last_seq + 1))
