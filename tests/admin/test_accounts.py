"""Staff find an account in any shard and see how it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts.models import Account, Application, GrantDirectory
from project.shards import on_shard
from sync.models import AccountSync, SyncState
from tests.admin.conftest import ACCOUNTS, collected, pages_of
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


def found(client: Client, **query: str) -> set[str]:
    """Return the emails that a search of the accounts lists."""
    response = client.get(ACCOUNTS, query)
    assert response.status_code == 200
    return {grant.email for grant in response.context["cl"].result_list}


@pytest.fixture
def both(application: Application) -> list[Mailroom]:
    return [make_mailroom(application, f"owner{shard}@example.org", shard=shard) for shard in (0, 1)]


def test_accounts_of_every_shard_are_found_by_email(boss: Client, both: list[Mailroom]) -> None:
    assert found(boss, q="example.org") == {"owner0@example.org", "owner1@example.org"}
    assert found(boss, q="Owner1@Example.org") == {"owner1@example.org"}
    assert found(boss, shard="1") == {"owner1@example.org"}


def test_account_is_found_by_the_id_of_what_it_owns(boss: Client, both: list[Mailroom]) -> None:
    for room in both:
        message = room.add(mail())
        for row_id in (room.id, message.pk, message.thread_id, room.folder().pk):
            assert room.account.email in found(boss, q=str(row_id))


@pytest.mark.parametrize("word", [str(2**63), "9" * 30, str(300 << 48)])
def test_id_that_no_shard_has_finds_nothing(boss: Client, both: list[Mailroom], word: str) -> None:
    assert found(boss, q=word) == set()


def test_empty_lists_say_what_to_do(boss: Client) -> None:
    assert "manage.py connect_account EMAIL" in boss.get(ACCOUNTS).content.decode()
    assert "clear the filters" in boss.get(ACCOUNTS, {"q": "nobody"}).content.decode()
    assert "create_api_key" in boss.get("/admin/accounts/apikey/").content.decode()
    assert "Nothing is recorded yet" in boss.get("/admin/accounts/auditentry/").content.decode()


def test_list_tells_how_each_mirror_is(boss: Client, both: list[Mailroom]) -> None:
    for room in both:
        with on_shard(room.id):
            now = timezone.now()
            looks = AccountSync.objects.filter(pk=room.id)
            looks.update(last_synced_at=now - timedelta(hours=3), failures=4, last_error=f"refused by {room.id}")
    page = boss.get(ACCOUNTS).content.decode()
    assert page.count("3 h ago") == 2
    assert all(f"refused by {room.id} (4 in a row)" in page for room in both)


def test_list_costs_the_same_however_long_it_is(boss: Client, application: Application, both: list[Mailroom]) -> None:
    boss.get(ACCOUNTS)
    counts = []
    for n in range(2):
        with collected() as queries:
            boss.get(ACCOUNTS)
        counts.append(len(queries))
        for shard in (0, 1) * 3:
            make_mailroom(application, f"more{n}-{GrantDirectory.objects.count()}@example.org", shard=shard)
    assert counts[0] == counts[1] <= 10


def test_page_shows_the_account_its_folders_and_what_went_wrong(boss: Client, room: Mailroom) -> None:
    room.folder("INBOX", role="inbox")
    room.add(mail("one"))
    room.add(mail("two"), "Work/Deep", flags=("\\Seen",))
    with on_shard(room.id):
        Account.objects.filter(pk=room.id).update(status_reason="the server said no")
        states = SyncState.objects.filter(folder__path="Work/Deep")
        states.update(failures=3, last_error="server misbehaved", last_error_at=timezone.now(), messages_known=7)
        soon = timezone.now() + timedelta(minutes=90)
        SyncState.objects.update(next_sync_at=soon, looked_at=timezone.now() - timedelta(minutes=12))
    response = boss.get(f"{pages_of(room)}change/")
    page = response.content.decode()
    assert all(told in page for told in ("the server said no", "server misbehaved", "imap", "12 min", "in 90 min"))
    lines = {line.folder.path: line for line in response.context["lines"]}
    inbox, deep = lines["INBOX"], lines["Work/Deep"]
    assert (inbox.folder.role, inbox.folder.total_count, inbox.folder.unread_count) == ("inbox", 1, 1)
    assert (deep.state, deep.failures, deep.known, deep.folder.unread_count) == ("error", 3, 7, 0)
    assert [line.folder.path for line in response.context["troubled"]] == ["Work/Deep"]


def test_page_costs_the_same_however_many_folders(boss: Client, room: Mailroom) -> None:
    room.folder("INBOX")
    counts = []
    for n in range(2):
        boss.get(f"{pages_of(room)}change/")
        with collected() as queries:
            boss.get(f"{pages_of(room)}change/")
        counts.append(len(queries))
        for m in range(8):
            room.folder(f"{n}-{m}")
    assert counts[0] == counts[1] <= 16


def test_account_without_folders_says_what_to_look_at(boss: Client, room: Mailroom) -> None:
    assert "whether the workers run" in boss.get(f"{pages_of(room)}change/").content.decode()


def test_account_that_is_gone_leads_back_to_the_list(boss: Client, room: Mailroom) -> None:
    GrantDirectory.objects.all().delete()
    response = boss.get(f"{pages_of(room)}change/", follow=True)
    assert response.redirect_chain == [(ACCOUNTS, 302)]
    assert f"No account {room.id} is connected" in response.content.decode()


def test_directory_row_without_account_explains_itself(boss: Client, application: Application) -> None:
    GrantDirectory.objects.create(account_id=77, application=application, email="half@example.org", provider="imap")
    response = boss.get(f"{ACCOUNTS}77/change/")
    assert response.status_code == 404
    assert "being connected or removed" in response.content.decode()


def test_account_of_a_shard_without_database_names_the_setting(boss: Client, application: Application) -> None:
    far = (5 << 48) + 1
    GrantDirectory.objects.create(account_id=far, application=application, email="far@example.org", provider="imap")
    assert found(boss) == {"far@example.org"}
    response = boss.get(f"{ACCOUNTS}{far}/change/")
    assert response.status_code == 503
    assert "set SHARD_5_URL" in response.content.decode()


def test_database_that_fails_is_named_with_its_setting(boss: Client, room: Mailroom) -> None:
    alias = "default" if room.id >> 48 == 0 else "shard_1"
    room.add(mail())
    with connections[alias].cursor() as cursor:
        # every look at the state of a folder outlasts the limit of a statement
        cursor.execute("ALTER TABLE sync_syncstate RENAME TO slow_state")
        cursor.execute("CREATE VIEW sync_syncstate AS SELECT slow_state.* FROM slow_state, pg_sleep(20)")
        cursor.execute("SET LOCAL statement_timeout = '100ms'")
    response = boss.get(f"{pages_of(room)}change/")
    setting = "DATABASE_URL" if alias == "default" else "SHARD_1_URL"
    assert response.status_code == 503
    assert "statement timeout" in response.content.decode()
    assert setting in response.content.decode()


def test_one_database_shows_no_shards_to_choose_from(
    boss: Client, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mailroom(application)
    assert 'href="?shard=1"' in boss.get(ACCOUNTS).content.decode()
    monkeypatch.delitem(settings.DATABASES, "shard_1")
    assert 'href="?shard=' not in boss.get(ACCOUNTS).content.decode()


@pytest.mark.parametrize("path", ["", "change/", "log/", "messages/", "messages/1/", "pause/", "resume/", "resync/"])
def test_pages_need_a_login_and_a_permission(staff: Callable[..., Client], room: Mailroom, path: str) -> None:
    address = pages_of(room) + path if path else ACCOUNTS
    stranger = Client().get(address)
    assert stranger.status_code == 302
    assert stranger.headers["Location"].startswith("/admin/login/")
    response = staff().get(address)
    assert response.status_code == 403
    if path:
        assert "under Users" in response.content.decode()


def test_nothing_is_added_changed_or_deleted_by_forms(boss: Client, room: Mailroom) -> None:
    for path in ("add/", f"{room.id}/delete/", f"{room.id}/history/"):
        assert boss.get(ACCOUNTS + path).status_code == 403
        assert boss.post(ACCOUNTS + path, {"post": "yes"}).status_code == 403
    boss.post(ACCOUNTS, {"action": "delete_selected", "_selected_action": room.id, "post": "yes"})
    assert GrantDirectory.objects.filter(pk=room.id).exists()
