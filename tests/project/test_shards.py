"""An id tells its database, and nothing of an account is looked for anywhere else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connections
from django.utils import timezone

from accounts.changelog.guards import install
from accounts.changelog.locks import LockOrder
from accounts.changelog.pruning import prune
from accounts.changelog.reader import read_changes
from accounts.changelog.recorder import lock_account
from accounts.models import Account, Application, AuditEntry, GrantDirectory, Transaction, TransactionHead
from project.shards import (
    MAX_SHARD,
    NoShardAtHand,
    UnknownShard,
    alias_at_hand,
    alias_of,
    id_range,
    is_sharded,
    on_shard,
    shard_at,
    shard_of,
    shards,
)
from sync.models import Folder, Thread
from tests.accounts.changelog.rows import ALIASES, kinds, make_account, make_messages
from tests.bare import bare

pytestmark = pytest.mark.django_db(databases=ALIASES)


def table_names(alias: str) -> set[str]:
    return set(connections[alias].introspection.table_names())


def test_ids_and_aliases_tell_the_shard() -> None:
    assert [id_range(0), id_range(1)] == [(1, 2**48 - 1), (2**48 + 1, 2**49 - 1)]
    assert [shard_of(one) for one in (0, 1, *id_range(5), *id_range(MAX_SHARD))] == [0, 0, 5, 5, MAX_SHARD, MAX_SHARD]
    assert [alias_of(0), alias_of(1)] == ["default", "shard_1"]
    assert [shard_at(one) for one in ("default", "shard_1", "shard_0", "shard_x", "replica")] == [
        0,
        1,
        None,
        None,
        None,
    ]
    assert shards() == [0, 1]
    for nonsense in (-1, 2**63):
        with pytest.raises(UnknownShard):
            shard_of(nonsense)
    with pytest.raises(UnknownShard, match="SHARD_9_URL"), on_shard(shard=9):
        pass


def test_rows_of_each_shard_get_ids_of_their_shard() -> None:
    for number in shards():
        with on_shard(shard=number):
            account = make_account()
            made = [account.pk, *make_messages(account, 2), *Thread.objects.values_list("pk", flat=True)]
        assert {shard_of(pk) for pk in made} == {number}


def test_identities_end_with_their_shard() -> None:
    with connections["shard_1"].cursor() as cursor:
        cursor.execute(
            "SELECT s.seqstart, s.seqmin, s.seqmax FROM pg_sequence s"
            " WHERE s.seqrelid = pg_get_serial_sequence('sync_thread', 'id')::regclass"
        )
        assert cursor.fetchone() == (id_range(1)[0], *id_range(1))


def test_what_is_installed_already_is_not_touched_again() -> None:
    with connections["shard_1"].cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('sync_thread', 'id'), %s)", [id_range(1)[0] + 99])
        install([Thread, Folder, Account], "shard_1")
        cursor.execute("SELECT nextval(pg_get_serial_sequence('sync_thread', 'id'))")
        assert cursor.fetchone() == (id_range(1)[0] + 100,)


def account_in(shard: int, email: str = "ada@example.org") -> Account:
    with on_shard(shard=shard):
        return make_account(email)


def test_control_tables_are_in_the_first_database_alone() -> None:
    control = {"accounts_application", "accounts_apikey", "accounts_grantdirectory", "accounts_auditentry", "auth_user"}
    sharded = {"accounts_account", "accounts_credential", "accounts_transaction", "sync_message", "sync_blob"}
    assert table_names("default") >= control | sharded
    assert table_names("shard_1") >= sharded
    assert not table_names("shard_1") & control
    assert [is_sharded(one) for one in (Account, Folder, Transaction)] == [True] * 3
    assert [is_sharded(one) for one in (Application, GrantDirectory, AuditEntry)] == [False] * 3


def test_inside_a_shard_control_rows_still_come_from_the_first_database() -> None:
    with on_shard(shard=1):
        application = Application.objects.create(name="x")
        account = make_account()
    assert (application._state.db, account._state.db) == ("default", "shard_1")
    assert not Account.objects.filter(pk=account.pk).exists()


def test_a_sharded_model_is_not_used_before_its_shard_is_named() -> None:
    account = account_in(1)
    for use in (
        Account.objects.exists,
        Account(application_id=1, email="x").save,
        lambda: Folder.objects.update(name="x"),
        lambda: Transaction.objects.get_or_create(account_id=1, seq=1),
        Thread.objects.all().delete,
    ):
        with pytest.raises(NoShardAtHand, match="on_shard"):
            bare(use)
    assert bare(Application.objects.exists) is False
    assert bare(account.folders.exists) is False
    assert bare(lambda: Account.objects.using("shard_1").get(pk=account.pk)) == account
    with on_shard(account.pk):
        assert Account.objects.get(pk=account.pk) == account


def test_with_one_database_there_is_nothing_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "DATABASES", {"default": settings.DATABASES["default"]})
    assert bare(Account.objects.exists) is False


def test_blocks_nest_and_end() -> None:
    with on_shard(shard=1):
        with on_shard(0) as alias:
            assert alias == alias_at_hand() == "default"
        with pytest.raises(ZeroDivisionError), on_shard(shard=0):
            1 / 0  # noqa: B018
        assert alias_at_hand() == "shard_1"
    assert alias_at_hand() == "default"


def test_objects_lead_to_their_own_shard_without_a_block() -> None:
    account = account_in(1)
    folder = account.folders.create(ref="A", name="A")
    assert (folder._state.db, folder.account) == ("shard_1", account)
    other = Folder(account_id=account.pk, ref="B")
    other.save()
    other.name = "b"
    other.save()
    assert other._state.db == "shard_1"
    assert kinds(account) == ["grant created", "folder created", "folder created", "folder updated"]
    account.folders.all().delete()
    assert kinds(account)[-2:] == ["folder deleted"] * 2


def test_a_lock_brings_its_shard_to_hand() -> None:
    account = account_in(1)
    with lock_account(account.pk):
        Folder.objects.bulk_insert([{"account_id": account.pk, "ref": "A"}])
        assert Folder.objects.update(name="x") == 1
    assert not Folder.objects.exists()
    assert kinds(account) == ["grant created", "folder created", "folder updated"]


def test_two_shards_cannot_be_locked_together() -> None:
    first, second = account_in(0), account_in(1)
    with pytest.raises(LockOrder, match="one shard"), lock_account(first.pk, second.pk):
        pass
    with lock_account(first.pk), pytest.raises(LockOrder, match="default"), lock_account(second.pk):
        pass


def test_each_shard_has_its_own_logs() -> None:
    first, second = account_in(0), account_in(1)
    make_messages(second, 3)
    assert [len(read_changes(one.pk, None, 100).rows) for one in (first, second)] == [1, 5]
    assert TransactionHead.objects.count() == 1
    with on_shard(shard=1):
        assert prune(timezone.now() + timedelta(minutes=1)).transactions == 5
    assert [read_changes(one.pk, None, 100).complete for one in (first, second)] == [True, False]


def test_a_row_of_one_shard_cannot_point_into_another() -> None:
    first, second = account_in(0), account_in(1)
    folder = first.folders.create(ref="A")
    with pytest.raises(ValueError, match="router prevents"):
        folder.account = second


def test_shards_are_configured_for_these_tests() -> None:
    assert set(settings.DATABASES) == set(ALIASES)
