"""Staff pause, resume and resync accounts: asked back first, permitted, recorded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, AuditEntry, GrantDirectory, Status
from accounts.services import invalidate_account, pause_account
from project.shards import on_shard
from sync.models import AccountSync, SyncState
from tests.admin.conftest import pages_of
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


def statuses(room: Mailroom) -> tuple[str, str]:
    """Return the status in the shard and in the directory."""
    with on_shard(room.id):
        return Account.objects.get(pk=room.id).status, GrantDirectory.objects.get(pk=room.id).status


def requested(room: Mailroom) -> int:
    with on_shard(room.id):
        return AccountSync.objects.get(pk=room.id).requested


def act(client: Client, room: Mailroom, action: str) -> str:
    """Do it, and return the page that follows."""
    response = client.post(f"{pages_of(room)}{action}/", follow=True)
    assert response.redirect_chain == [(f"{pages_of(room)}change/", 302)]
    return response.content.decode()


@pytest.mark.parametrize("action", ["pause", "resume", "resync"])
def test_action_is_asked_back_first(boss: Client, room: Mailroom, action: str) -> None:
    pause_account(account_id=room.id) if action == "resume" else None
    before = (*statuses(room), requested(room))
    page = boss.get(f"{pages_of(room)}{action}/").content.decode()
    assert f"{action.title()} ada@example.org?" in page
    assert "No, take me back" in page
    assert (*statuses(room), requested(room)) == before
    assert not AuditEntry.objects.exists()


def test_account_is_paused_and_resumed(boss: Client, room: Mailroom) -> None:
    room.folder()
    assert "Paused ada@example.org." in act(boss, room, "pause")
    assert statuses(room) == (Status.PAUSED, Status.PAUSED)
    with on_shard(room.id):
        SyncState.objects.update(failures=9, next_sync_at=None)
    assert "Resumed ada@example.org" in act(boss, room, "resume")
    assert statuses(room) == (Status.VALID, Status.VALID)
    with on_shard(room.id):
        state = SyncState.objects.get()
        assert state.failures == 0
        assert state.next_sync_at is not None
        assert AccountSync.objects.get(pk=room.id).next_look_at is not None
    assert "was paused already" in act(boss, room, "pause") + act(boss, room, "pause")


def test_invalid_account_is_tried_again_by_resuming_it(boss: Client, room: Mailroom) -> None:
    invalidate_account(account_id=room.id, reason="the login was refused")
    page = boss.get(f"{pages_of(room)}change/").content.decode()
    assert "the login was refused" in page
    assert f"{pages_of(room)}resume/" in page
    act(boss, room, "resume")
    assert statuses(room) == (Status.VALID, Status.VALID)


def test_resync_asks_for_a_pass(boss: Client, room: Mailroom) -> None:
    before = requested(room)
    assert f"Pass {before + 1} of ada@example.org" in act(boss, room, "resync")
    assert requested(room) == before + 1
    with on_shard(room.id):
        due = AccountSync.objects.get(pk=room.id).next_look_at
    assert due is not None
    assert due <= timezone.now()


def test_resync_of_a_paused_account_says_what_to_do(boss: Client, room: Mailroom) -> None:
    pause_account(account_id=room.id)
    before = requested(room)
    assert "Resume it first" in act(boss, room, "resync")
    assert requested(room) == before


def test_resync_of_an_account_never_mirrored_says_what_to_do(boss: Client, room: Mailroom) -> None:
    with on_shard(room.id):
        AccountSync.objects.all().delete()
    assert "that begins the mirror" in act(boss, room, "resync")
    act(boss, room, "pause")
    act(boss, room, "resume")
    assert requested(room) == 1


def test_each_action_is_recorded(boss: Client, room: Mailroom) -> None:
    for action in ("resync", "pause", "resume"):
        act(boss, room, action)
    entries = AuditEntry.objects.order_by("pk").values_list("username", "action", "account_id", "address")
    words = ["asked for resync", "paused account", "resumed account"]
    assert list(entries) == [("boss", word, room.id, "192.0.2.7") for word in words]


@pytest.mark.parametrize("action", ["pause", "resume", "resync"])
def test_staff_without_the_permission_cannot_act(staff: Callable[..., Client], room: Mailroom, action: str) -> None:
    client = staff("accounts.view_grantdirectory", "sync.view_message", "accounts.open_body")
    assert f"{pages_of(room)}{action}/" not in client.get(f"{pages_of(room)}change/").content.decode()
    before = (*statuses(room), requested(room))
    assert client.post(f"{pages_of(room)}{action}/").status_code == 403
    assert (*statuses(room), requested(room)) == before
    assert not AuditEntry.objects.exists()
