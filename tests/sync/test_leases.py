"""Who works on what: what becomes of leases and queues when workers, the broker or the database go away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerAway

from accounts.services import default_application, pause_account
from celery_config import app
from sync.errors import Unreachable
from sync.models import AccountSync, SyncState
from sync.services import leases
from sync.services.leases import (
    LEASE,
    LeaseLost,
    claim_account,
    claim_folder,
    confirm_lease,
    free_own_leases,
    hold_leases_as,
    release,
)
from sync.services.schedule import (
    enqueue_accounts,
    enqueue_folders,
    forget_queued,
    release_failed,
    schedule_due_accounts,
    schedule_due_folders,
)
from tests.api.mailbox import Mailroom, make_mailroom
from tests.project.postgres.asking import lost_connection

pytestmark = pytest.mark.django_db


@pytest.fixture
def room() -> Mailroom:
    return make_mailroom(default_application())


@contextmanager
def being(worker: str) -> Iterator[None]:
    """Hold leases as a worker of this name."""
    before = leases._holder
    hold_leases_as(worker)
    try:
        yield
    finally:
        leases._holder = before


def folder_state(room: Mailroom) -> SyncState:
    return SyncState.objects.get(folder=room.folder("INBOX"))


def account_state(room: Mailroom) -> AccountSync:
    return AccountSync.objects.get(account_id=room.id)


def later() -> dict[str, object]:
    return {"next_sync_at": timezone.now() + timedelta(hours=1)}


def test_a_worker_that_starts_again_frees_what_it_held_and_nothing_else(room: Mailroom) -> None:
    with being("worker-sync-2@host"):
        others = claim_account(room.id)
        assert others is not None
    with being("worker-sync-1@host"):
        mine = claim_folder(room.folder("INBOX").pk)
        assert mine is not None
        SyncState.objects.update(**later())
    with being("worker-sync-1@host"):
        assert free_own_leases() == 1
    state = folder_state(room)
    assert (state.lease_token, state.lease_until) == (None, None)
    assert state.next_sync_at is not None
    assert state.next_sync_at <= timezone.now() + timedelta(seconds=1)
    assert account_state(room).lease_token == others.token
    with pytest.raises(LeaseLost):
        confirm_lease(mine)


def test_a_paused_folder_stays_paused_when_its_worker_starts_again(room: Mailroom) -> None:
    with being("worker-sync-1@host"):
        assert claim_folder(room.folder("INBOX").pk) is not None
        pause_account(account_id=room.id)
        SyncState.objects.update(next_sync_at=None)
        assert free_own_leases() == 1
    assert folder_state(room).next_sync_at is None


def test_a_lease_that_ran_out_is_taken_by_another_and_its_late_commit_refused(room: Mailroom) -> None:
    late = claim_folder(room.folder("INBOX").pk)
    assert late is not None
    assert claim_folder(room.folder("INBOX").pk) is None
    SyncState.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LeaseLost):
        confirm_lease(late)
    other = claim_folder(room.folder("INBOX").pk)
    assert other is not None
    assert not release(late, failures=7)
    assert folder_state(room).failures == 0
    confirm_lease(other)
    held_until = folder_state(room).lease_until
    assert held_until is not None
    assert held_until > timezone.now() + LEASE - timedelta(seconds=5)


def test_what_a_lost_queue_held_is_due_again_at_once(room: Mailroom) -> None:
    enqueue_accounts([room.id])
    enqueue_folders([room.folder("INBOX").pk])
    AccountSync.objects.update(next_look_at=timezone.now())
    assert schedule_due_accounts() == 0
    forget_queued()
    assert schedule_due_accounts() == 1
    assert schedule_due_folders() == len(room.folders)


def test_what_the_broker_did_not_take_is_due_again_at_once(room: Mailroom, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise BrokerAway("no broker")

    with monkeypatch.context() as patched:
        patched.setattr(app, "send_task", refuse)
        enqueue_accounts([room.id])
        enqueue_folders([room.folder("INBOX").pk])
    assert account_state(room).queued_at is None
    state = folder_state(room)
    assert state.queued_at is None
    assert state.next_sync_at is not None
    assert state.next_sync_at <= timezone.now() + timedelta(seconds=1)


def test_work_that_failed_because_our_database_was_away_is_tried_again_at_once_and_not_counted(room: Mailroom) -> None:
    lease = claim_folder(room.folder("INBOX").pk)
    assert lease is not None
    release_failed(lease, lost_connection())
    state = folder_state(room)
    assert (state.lease_token, state.failures) == (None, 0)
    assert state.next_sync_at is not None
    assert state.next_sync_at <= timezone.now() + timedelta(seconds=2)


def test_work_that_a_server_failed_is_counted_and_waits_longer_each_time(room: Mailroom) -> None:
    waits = []
    for _ in range(3):
        SyncState.objects.update(lease_until=None)
        lease = claim_folder(room.folder("INBOX").pk)
        assert lease is not None
        release_failed(lease, Unreachable("no answer"))
        state = folder_state(room)
        assert state.next_sync_at is not None
        waits.append(round((state.next_sync_at - timezone.now()).total_seconds(), -1))
    assert waits == [10, 20, 40]
    assert folder_state(room).last_error == "no answer"
