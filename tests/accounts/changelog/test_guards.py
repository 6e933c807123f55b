"""What goes past the doors is refused by the database itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import InternalError, connection, transaction
from django.db.models import QuerySet

from accounts.changelog.guards import install, trigger_name
from accounts.changelog.locks import LockOrder, NoHead
from accounts.changelog.logged import LoadRefused
from accounts.changelog.recorder import allow_unlogged, lock_account
from accounts.models import Account, Transaction
from sync.models import Folder, Message, Thread
from tests.accounts.changelog.rows import ALIASES, kinds, make_account, make_messages

pytestmark = pytest.mark.django_db(databases=ALIASES)


def plain(model: type[Any]) -> Any:
    """Return a queryset without our doors, as a migration has it."""
    return QuerySet(model)


def test_insert_update_and_delete_past_the_doors_are_refused() -> None:
    account = make_account()
    thread = Thread.objects.create(account_id=account.pk)
    writes: list[Callable[[], object]] = [
        lambda: plain(Thread).bulk_create([Thread(account_id=account.pk)]),
        lambda: plain(Thread).filter(pk=thread.pk).update(subject="x"),
        lambda: plain(Thread).filter(pk=thread.pk)._raw_delete("default"),
        lambda: plain(Account).filter(pk=account.pk).update(name="x"),
    ]
    for write in writes:
        with pytest.raises(InternalError, match=f"account {account.pk} is not locked"), transaction.atomic():
            write()


def test_the_lock_of_another_account_is_not_enough() -> None:
    ada, bob = make_account("ada@example.org"), make_account("bob@example.org")
    thread = Thread.objects.create(account_id=ada.pk)
    with pytest.raises(InternalError, match="is not locked"), lock_account(bob.pk):
        plain(Thread).filter(pk=thread.pk).update(subject="x")
    with pytest.raises(InternalError, match="is not locked"), lock_account(ada.pk):
        plain(Thread).filter(pk=thread.pk).update(account_id=bob.pk)


def test_no_door_reaches_past_the_lock_it_stands_in() -> None:
    ada, bob = make_account("ada@example.org"), make_account("bob@example.org")
    for one in (ada, bob):
        make_messages(one, 1)
    ids = list(Message.objects.values_list("pk", flat=True))
    before = kinds(bob)
    writes: list[Callable[[], object]] = [
        lambda: Message.objects.update(subject="x"),
        lambda: Message.objects.bulk_update_values(ids, {"subject": ["y"] * len(ids)}),
        lambda: Message.objects.all().delete(),
    ]
    for write in writes:
        with pytest.raises(InternalError, match=f"account {bob.pk} is not locked"), lock_account(ada.pk):
            write()
    with pytest.raises(LockOrder), lock_account(ada.pk):
        list(Message.objects.select_for_update())
    with pytest.raises(LockOrder), lock_account(ada.pk):
        Message.objects.get(account_id=bob.pk).save()
    assert kinds(bob) == before


def test_the_lock_ends_with_its_block_even_while_the_transaction_goes_on() -> None:
    account = make_account()
    thread = Thread.objects.create(account_id=account.pk)
    with transaction.atomic():
        with lock_account(account.pk):
            plain(Thread).filter(pk=thread.pk).update(subject="inside")
        with pytest.raises(InternalError, match="is not locked"), transaction.atomic():
            plain(Thread).filter(pk=thread.pk).update(subject="after")


def test_unlogged_writes_pass_unrecorded_and_end_with_their_block() -> None:
    account = make_account()
    thread = Thread.objects.create(account_id=account.pk)
    before = kinds(account)
    with transaction.atomic():
        with allow_unlogged("a test"):
            plain(Thread).filter(pk=thread.pk).update(subject="x")
            Thread.objects.filter(pk=thread.pk).update(subject="y")
            thread.save()
        with pytest.raises(InternalError, match="is not locked"), transaction.atomic():
            plain(Thread).filter(pk=thread.pk).update(subject="z")
    assert kinds(account) == before


def test_an_unlogged_block_within_a_lock_gives_the_lock_back() -> None:
    account = make_account()
    thread = Thread.objects.create(account_id=account.pk)
    with lock_account(account.pk):
        with allow_unlogged("a test"):
            Thread.objects.filter(pk=thread.pk).update(subject="unseen")
        Thread.objects.filter(pk=thread.pk).update(subject="seen")
    assert kinds(account)[-2:] == ["thread created", "thread updated"]


def test_locks_are_named_at_once_or_refused() -> None:
    ada, bob = make_account("ada@example.org"), make_account("bob@example.org")
    with lock_account(ada.pk, bob.pk), lock_account(bob.pk):
        pass
    with lock_account(ada.pk), pytest.raises(LockOrder, match=str(bob.pk)), lock_account(bob.pk):
        pass
    with pytest.raises(LockOrder), lock_account():
        pass
    with allow_unlogged("a test"), pytest.raises(LockOrder, match="unlogged"), lock_account(ada.pk):
        pass


def test_an_account_without_a_head_cannot_be_locked() -> None:
    with pytest.raises(NoHead, match="4711"), lock_account(4711):
        pass


def test_a_failed_block_leaves_no_lock_behind() -> None:
    account = make_account()
    with pytest.raises(ZeroDivisionError), lock_account(account.pk):
        1 / 0  # noqa: B018
    with lock_account(account.pk):
        Thread.objects.create(account_id=account.pk)


def test_fixtures_are_refused(tmp_path: Path) -> None:
    account = make_account()
    fixture = tmp_path / "threads.json"
    fixture.write_text(f'[{{"model": "sync.thread", "pk": 7, "fields": {{"account": {account.pk}}}}}]')
    with pytest.raises(LoadRefused, match=r"sync\.Thread"):
        call_command("loaddata", str(fixture))


def test_guards_are_installed_on_every_logged_table_and_again_where_one_is_missing() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {trigger_name('UPDATE')} ON sync_thread")
        install([Account, Folder, Thread, Message], "default")
        install([Account, Folder, Thread, Message], "default")
        cursor.execute(
            "SELECT tgrelid::regclass::text, count(*) FROM pg_trigger WHERE tgname LIKE 'mail_guard%' GROUP BY 1"
        )
        found = dict(cursor.fetchall())
    tables = {"accounts_account", "accounts_notice", "sync_folder", "sync_thread", "sync_message"}
    assert found == dict.fromkeys(tables, 3)


def test_an_empty_write_needs_no_lock() -> None:
    assert plain(Message).filter(pk=-1).update(subject="x") == 0
    account = make_account()
    assert Message.objects.filter(account_id=account.pk).delete() == (0, {})
    assert Transaction.objects.filter(account_id=account.pk).count() == 1
    assert make_messages(account, 0) == []
