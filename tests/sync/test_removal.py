"""Removing an account: gone at once, its mail after it, whatever dies in between; on each of two shards."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext
from redis import Redis

from accounts.changelog.recorder import lock_account
from accounts.changelog.rows import bulk_insert
from accounts.models import Account, Application, Credential, GrantDirectory, Transaction
from accounts.services import AccountNotFound, NewAccount, default_application, store_account
from project.shards import on_shard, shard_of
from sync import tasks
from sync.models import AccountSync, Blob, Folder, FolderMessage, Message, Removal, SyncState, Thread
from sync.services import holding, removal
from sync.services.ingest import arrive, store_arrivals
from sync.services.leases import LeaseLost, claim_folder, confirm_lease
from sync.services.removal import (
    count_messages,
    delete_mail,
    disconnect_account,
    end_account,
    sweep_directory,
    sweep_removals,
)
from tests.accounts.changelog.rows import message_row
from tests.api.conftest import environment_of_others
from tests.api.mailbox import EPOCH, Mailroom, mail, make_mailroom
from tests.bare import bare

ALIASES = ["default", "shard_1"]
pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.fixture
def application(db: None) -> Application:
    return default_application()


@pytest.fixture(params=[0, 1], ids=["shard 0", "shard 1"])
def room(request: pytest.FixtureRequest, application: Application) -> Mailroom:
    """A mailbox with messages, copies, threads and attachments in two folders."""
    made = make_mailroom(application, shard=request.param)
    for n in range(12):
        made.add(
            mail(f"{n}", References="<root@x> <never@seen>", attachments=[("a", "text/plain", b"a")]), "INBOX", "Kept"
        )
    return made


@pytest.fixture(autouse=True)
def empty_queue() -> Iterator[None]:
    """What is enqueued here is of no other test."""
    yield
    with closing(Redis.from_url(settings.CELERY_BROKER_URL)) as broker:
        broker.delete("maintenance")


def left_of(account_id: int) -> dict[str, int]:
    """Table -> how many rows an account still has, in all tables of its shard that name accounts but the log's."""
    found = {}
    with on_shard(account_id) as alias, connections[alias].cursor() as cursor:
        models: list[Any] = [*apps.get_app_config("sync").get_models(), Account, Credential]
        for model in models:
            column = "id" if model is Account else "account_id"
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table} WHERE {column} = %s", [account_id])
            if (count := cursor.fetchone()[0]) > 0:
                found[model.__name__] = count
    return found


def log_of(account_id: int) -> list[tuple[int, int, Any]]:
    with on_shard(account_id):
        rows = Transaction.objects.filter(account_id=account_id).order_by("seq")
        return list(rows.values_list("object_type", "kind", "tombstone"))


def test_a_removed_account_is_gone_at_once_and_its_mail_after_it(room: Mailroom) -> None:
    before = log_of(room.id)
    neighbour = make_mailroom(default_application(), "bob@example.org", shard=shard_of(room.id))
    neighbour.add(mail("0", References="<root@x>"))
    theirs = left_of(neighbour.id)
    bare(end_account, account_id=room.id)
    assert bare(count_messages, account_id=room.id) == 12
    assert not GrantDirectory.objects.filter(pk=room.id).exists()
    left = left_of(room.id)
    assert left["Removal"] == 1
    assert not {"Account", "Credential", "AccountSync", "SyncState"} & set(left)
    assert bare(delete_mail, account_id=room.id)
    assert left_of(room.id) == {}
    assert log_of(room.id) == [*before, (8, 3, {"email": "ada@example.org", "provider": "imap"})]
    assert left_of(neighbour.id) == theirs
    with pytest.raises(AccountNotFound):
        bare(disconnect_account, account_id=room.id)
    with pytest.raises(AccountNotFound):
        bare(disconnect_account, account_id=room.id + 1000)


def test_the_mail_is_deleted_by_a_task_in_the_background(room: Mailroom) -> None:
    with closing(Redis.from_url(settings.CELERY_BROKER_URL)) as broker:
        before = broker.llen("maintenance")
        bare(disconnect_account, account_id=room.id)
        assert broker.llen("maintenance") == before + 1
    assert left_of(room.id)["Message"] == 12
    bare(tasks.delete_mail, account_id=room.id)
    assert left_of(room.id) == {}
    # a second of the same finds nothing
    bare(tasks.delete_mail, account_id=room.id)


def test_an_account_ends_in_as_many_queries_however_much_mail_it_has(application: Application) -> None:
    counts = []
    for n in (1, 6):
        room = make_mailroom(application, shard=1)
        for _ in range(n):
            room.add(mail(), *[f"{each}" for each in range(n)])
        with CaptureQueriesContext(connections["shard_1"]) as queries:
            bare(end_account, account_id=room.id)
        counts.append(len(queries))
        assert not [one["sql"] for one in queries if "sync_message" in one["sql"]]
    assert counts[0] == counts[1] < 20


def test_what_a_death_left_half_deleted_the_sweep_finishes(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "SLICE", 5)

    def die(deleted: int) -> None:
        raise KeyboardInterrupt

    bare(end_account, account_id=room.id)
    with pytest.raises(KeyboardInterrupt):
        bare(delete_mail, account_id=room.id, tell=die)
    assert left_of(room.id)["Message"] == 7
    with on_shard(room.id):
        assert sweep_removals() == 0
        Removal.objects.update(worked_at=EPOCH)
        assert sweep_removals() == 1
        assert sweep_removals() == 0
    bare(tasks.delete_mail, account_id=room.id)
    assert left_of(room.id) == {}


def test_a_death_before_the_directory_knows_is_mended_by_the_sweep(room: Mailroom) -> None:
    with on_shard(room.id) as alias, lock_account(room.id):
        removal._end(alias, room.id)
        Removal.objects.update(worked_at=EPOCH)
    assert GrantDirectory.objects.filter(pk=room.id).exists()
    with on_shard(room.id):
        assert sweep_removals() == 1
    assert not GrantDirectory.objects.filter(pk=room.id).exists()


def test_a_large_removal_lets_others_have_the_worker(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "SLICE", 5)
    monkeypatch.setattr(removal, "TASK_SECONDS", 0)
    bare(end_account, account_id=room.id)
    tries = 0
    while not bare(removal.delete_some_mail, account_id=room.id):
        tries += 1
    assert tries > 3
    assert left_of(room.id) == {}


def test_a_worker_in_the_middle_of_a_slice_commits_nothing_and_ends_quietly(room: Mailroom) -> None:
    folder = room.folder("INBOX")
    with on_shard(room.id):
        lease = claim_folder(folder.pk)
        assert lease is not None
        end_account(account_id=room.id)
        with pytest.raises(LeaseLost), lock_account(room.id):
            confirm_lease(lease)
        assert claim_folder(folder.pk) is None
    bare(tasks.sync_folder, folder_id=folder.pk)
    bare(tasks.look_at_account, account_id=room.id)
    bare(delete_mail, account_id=room.id)
    assert left_of(room.id) == {}


@pytest.mark.parametrize("task", [tasks.sync_folder, tasks.look_at_account])
def test_a_task_whose_account_is_removed_while_it_works_ends_quietly(
    room: Mailroom, task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account is removed once the task has its lease, and before it reads the account to log in."""
    claim = {tasks.sync_folder: "claim_folder", tasks.look_at_account: "claim_account"}[task]
    really = getattr(tasks, claim)

    def claim_then_lose(row_id: int) -> Any:
        lease = really(row_id)
        assert lease is not None
        end_account(account_id=room.id)
        return lease

    monkeypatch.setattr(tasks, claim, claim_then_lose)
    given = {"folder_id": room.folder("INBOX").pk} if task is tasks.sync_folder else {"account_id": room.id}
    before = len(log_of(room.id))
    bare(task, **given)
    assert len(log_of(room.id)) == before + 1


def test_nothing_held_is_recorded_behind_the_end(room: Mailroom) -> None:
    with on_shard(room.id), lock_account(room.id):
        Message.objects.filter(account_id=room.id).update(held_by=1)
    bare(end_account, account_id=room.id)
    with on_shard(room.id):
        assert holding._delete_held(room.id, 5) == 0
    assert log_of(room.id)[-1][:2] == (8, 3)


def new_account(application: Application) -> NewAccount:
    return NewAccount(application.pk, "Ada@example.org", "imap", {"imap_host": "x"}, {"imap_password": "p"})


def test_the_same_address_is_connected_anew_while_the_old_mail_is_still_being_deleted(
    room: Mailroom, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "SLICE", 5)
    bare(end_account, account_id=room.id)
    new_id = bare(store_account, new=new_account(application))
    assert new_id != room.id
    assert GrantDirectory.objects.get(email="ada@example.org").pk == new_id
    with on_shard(new_id):
        account = Account.objects.get(pk=new_id)
        AccountSync.objects.create(account=account, listed_at=EPOCH, last_synced_at=EPOCH)
    fresh = Mailroom(account)
    fresh.add(mail("0", References="<root@x>"))
    theirs = left_of(new_id)
    bare(delete_mail, account_id=room.id)
    assert left_of(room.id) == {}
    assert left_of(new_id) == theirs


def test_an_address_whose_account_is_gone_from_the_shard_alone_is_connected_anew(
    room: Mailroom, application: Application
) -> None:
    with on_shard(room.id) as alias, lock_account(room.id):
        removal._end(alias, room.id)
    new_id = bare(store_account, new=new_account(application))
    assert new_id != room.id
    assert list(GrantDirectory.objects.values_list("pk", flat=True)) == [new_id]


def test_the_command_removes_in_the_foreground(room: Mailroom, capsys: pytest.CaptureFixture[str]) -> None:
    bare(lambda: call_command("disconnect_account", "ada@example.org"))
    out = capsys.readouterr()
    assert "12 messages" in out.out
    assert "12/12" in out.err
    assert left_of(room.id) == {}


def test_the_directory_is_mended(room: Mailroom, application: Application) -> None:
    lost = GrantDirectory.objects.create(account_id=1 << 40, application=application, email="x@y", provider="imap")
    GrantDirectory.objects.filter(pk=room.id).update(status="paused")
    assert bare(sweep_directory) == 1
    assert GrantDirectory.objects.get(pk=room.id).status == "valid"
    assert GrantDirectory.objects.filter(pk=lost.pk).exists()
    GrantDirectory.objects.filter(pk=lost.pk).update(created_at=EPOCH)
    assert bare(sweep_directory) == 1
    assert not GrantDirectory.objects.filter(pk=lost.pk).exists()
    assert bare(sweep_directory) == 0


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_a_commit_that_began_before_the_end_is_kept_until_its_account_goes(application: Application) -> None:
    """The end waits for a writer that holds the head; one that comes after it is refused."""
    room = make_mailroom(application, shard=1)
    folder = room.folder("INBOX")
    with on_shard(room.id):
        lease = claim_folder(folder.pk)
        assert lease is not None

    def end() -> None:
        end_account(account_id=room.id)
        connections.close_all()

    ended = threading.Thread(target=end)
    raw = mail("late")
    with on_shard(room.id):
        with lock_account(room.id):
            confirm_lease(lease)
            ended.start()
            store_arrivals(lease, [arrive_raw(raw)])
            ended.join(0.3)
            assert ended.is_alive()
        ended.join(10)
        assert not ended.is_alive()
        assert Message.objects.filter(account_id=room.id).count() == 1
        with pytest.raises(LeaseLost), lock_account(room.id):
            confirm_lease(lease)
        assert not Folder.objects.exclude(account_id=room.id).exists()
        assert not SyncState.objects.exists()
    delete_mail(account_id=room.id)
    assert left_of(room.id) == {}
    with on_shard(room.id):
        assert not Blob.objects.exists()


def arrive_raw(raw: bytes) -> Any:
    from sync.providers.base import RemoteMessage

    return arrive(RemoteMessage("1", frozenset(), EPOCH, len(raw), raw))


def fill(room: Mailroom, messages: int) -> None:
    """Store many messages at once, in one folder."""
    folder = room.folder("Many").pk
    with on_shard(room.id), lock_account(room.id):
        threads = Thread.objects.bulk_insert([{"account_id": room.id} for _ in range(messages)])
        rows = [message_row(room.id, thread, n, folder_ids=[folder], date=EPOCH) for n, thread in enumerate(threads)]
        ids = Message.objects.bulk_insert(rows)
        copies = [
            {"account_id": room.id, "folder_id": folder, "message_id": pk, "remote_id": str(pk), "date": EPOCH}
            for pk in ids
        ]
        bulk_insert(FolderMessage, copies)


@pytest.mark.faults
@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_a_command_that_is_killed_leaves_the_rest_to_the_sweep(application: Application) -> None:
    room = make_mailroom(application, shard=1)
    fill(room, 8000)
    line = [sys.executable, "manage.py", "disconnect_account", str(room.id)]
    command = subprocess.Popen(line, cwd=settings.BASE_DIR, env=environment_of_others(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while count_messages(account_id=room.id) == 8000 and time.monotonic() < deadline:
        time.sleep(0.01)
    command.kill()
    command.wait()
    left = left_of(room.id)
    assert 0 < left["Message"] < 8000
    assert left["Removal"] == 1
    assert "Account" not in left
    assert not GrantDirectory.objects.exists()
    with on_shard(room.id):
        Removal.objects.update(worked_at=EPOCH)
        assert sweep_removals() == 1
    while not bare(removal.delete_some_mail, account_id=room.id):
        pass
    assert left_of(room.id) == {}
    assert log_of(room.id)[-1][:2] == (8, 3)
