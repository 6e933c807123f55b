"""/metrics tells of accounts, folders and queues, by shard and by queue."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone
from redis import Redis

from accounts.models import Account, Application
from accounts.services import default_application, pause_account
from project.shards import on_shard
from project.telemetry.metrics import Computed
from sync.models import AccountSync, Removal, SyncState
from sync.services import figures
from tests.api.conftest import served as served
from tests.api.mailbox import EPOCH, mail, make_mailroom

ALIASES = ["default", "shard_1"]
pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.fixture
def application(db: None) -> Application:
    return default_application()


@pytest.fixture
def queue() -> Iterator[Redis]:
    """The broker, with a queue that nobody reads and that is empty again afterwards."""
    with closing(Redis.from_url(settings.CELERY_BROKER_URL)) as broker:
        broker.delete("backfill.3")
        yield broker
        broker.delete("backfill.3")


def told() -> dict[str, float]:
    """Name and labels -> value, of all that is registered; nothing may have failed."""
    found = {
        sample.name + "".join(f"{{{value}}}" for _, value in sorted(sample.labels.items())): sample.value
        for family in Computed().collect()
        for sample in family.samples
    }
    assert found.pop("mailmirror_collectors_failed") == 0
    return found


def test_accounts_and_folders_are_counted_by_shard(application: Application) -> None:
    before = told()
    now = timezone.now()
    late, idle, paused = (make_mailroom(application, f"{n}@example.org", shard=1) for n in range(3))
    for room in (late, idle, paused):
        room.add(mail(), "INBOX")
        room.add(mail(), "Sent")
    pause_account(account_id=paused.id)
    with on_shard(shard=1):
        AccountSync.objects.update(last_synced_at=now)
        AccountSync.objects.filter(pk=late.id).update(last_synced_at=now - timedelta(minutes=9), failures=2)
        AccountSync.objects.filter(pk=paused.id).update(last_synced_at=EPOCH, failures=9)
        SyncState.objects.update(next_sync_at=now + timedelta(hours=1))
        SyncState.objects.filter(folder=late.folder("INBOX")).update(next_sync_at=now - timedelta(minutes=2))
        SyncState.objects.filter(folder=late.folder("Sent")).update(next_sync_at=now, failures=1)
        SyncState.objects.filter(account_id=paused.id).update(next_sync_at=EPOCH)
        Removal.objects.create(account_id=1 << 48)
    after = told()
    assert after["mailmirror_accounts{1}{valid}"] == 2
    assert after["mailmirror_accounts{1}{paused}"] == 1
    assert after["mailmirror_accounts{1}{invalid}"] == 0
    assert 540 <= after["mailmirror_oldest_lag_seconds{1}"] < 640
    assert after["mailmirror_accounts_failing{1}"] == 1
    assert after["mailmirror_folders_due{1}"] == 2
    assert after["mailmirror_folders_overdue{1}"] == 1
    assert after["mailmirror_folders_failing{1}"] == 1
    assert after["mailmirror_removals_pending{1}"] == 1
    assert after["mailmirror_log_rows{1}"] >= 0
    assert {name: value for name, value in after.items() if name.endswith("{0}")} == {
        name: value for name, value in before.items() if name.endswith("{0}")
    }


def test_an_account_that_was_never_mirrored_lags_since_it_was_connected(application: Application) -> None:
    room = make_mailroom(application, shard=1)
    with on_shard(shard=1) as alias, connections[alias].cursor() as cursor:
        AccountSync.objects.update(last_synced_at=None)
        cursor.execute("SELECT set_config('mail.locked', %s, true)", [str(room.id)])
        Account._base_manager.filter(pk=room.id).update(created_at=timezone.now() - timedelta(seconds=100))
    assert 100 <= told()["mailmirror_oldest_lag_seconds{1}"] < 200


def test_queues_are_measured(queue: Redis) -> None:
    assert told()["mailmirror_queue_length{backfill.3}"] == 0
    queue.lpush("backfill.3", b"a", b"b")
    found = told()
    assert found["mailmirror_queue_length{backfill.3}"] == 2
    assert {name for name in found if name.startswith("mailmirror_queue_length")} >= {
        "mailmirror_queue_length{maintenance}", "mailmirror_queue_length{sync.0}", "mailmirror_queue_length{sync.15}",
    }  # fmt: skip
    assert found["mailmirror_tasks_unacknowledged"] >= 0


def test_a_broker_that_is_down_hides_no_other_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
    values = {sample.name: sample.value for family in Computed().collect() for sample in family.samples}
    assert values["mailmirror_collectors_failed"] == 1
    assert "mailmirror_folders_due" in values
    monkeypatch.setattr(settings, "CELERY_BROKER_URL", "amqp://127.0.0.1:1/")
    assert list(figures.queues()) == []


def test_no_figure_reads_all_folders_or_all_of_the_log() -> None:
    """What there are millions of is read by an index alone, whatever the planner thinks of an empty table."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for sql in (figures._FOLDERS, figures._FAILING, figures._LOG_ROWS):
            cursor.execute(f"EXPLAIN {sql}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert "Seq Scan on sync_syncstate" not in plan, plan
            assert "accounts_transaction" not in plan, plan


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_the_figures_are_on_the_wire(served: str, application: Application) -> None:
    make_mailroom(application, shard=1)
    with urllib.request.urlopen(f"{served}/metrics", timeout=20) as response:
        text = response.read().decode()
    assert 'mailmirror_accounts{shard="1",status="valid"} 1.0' in text
    assert 'mailmirror_oldest_lag_seconds{shard="1"}' in text
    assert 'mailmirror_queue_length{queue="maintenance"}' in text
    assert "mailmirror_collectors_failed 0.0" in text
