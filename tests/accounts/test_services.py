"""Storing accounts: one a mailbox and application, whoever else is at it; the directory is kept in step."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from accounts.models import Account, Application, Credential, GrantDirectory, Status, Transaction
from accounts.services import (
    AccountNotFound,
    NewAccount,
    default_application,
    find_grants,
    invalidate_account,
    pause_account,
    read_secrets,
    resume_account,
    store_account,
)
from project.shards import on_shard
from tests.bare import bare

ALIASES = ["default", "shard_1"]
pytestmark = pytest.mark.django_db(databases=ALIASES)


@pytest.fixture
def application(db: None) -> Application:
    return default_application()


def new(application: Application, email: str = "Ada@example.org", password: str = "p") -> NewAccount:
    return NewAccount(application.pk, email, "imap", {"imap_host": "x"}, {"imap_password": password}, state="mine")


def kinds(account_id: int) -> list[int]:
    """What the log says of the grant."""
    rows = Transaction.objects.filter(account_id=account_id, object_type=8).order_by("seq")
    return list(rows.values_list("kind", flat=True))


def test_an_account_is_stored_with_its_directory_and_its_secrets(application: Application) -> None:
    pk = bare(store_account, new(application))
    account, grant = Account.objects.get(pk=pk), GrantDirectory.objects.get(pk=pk)
    assert (account.email, account.status, account.state) == ("Ada@example.org", Status.VALID, "mine")
    assert (grant.email, grant.status, grant.application) == ("ada@example.org", Status.VALID, application)
    assert grant.created_at == account.created_at
    assert read_secrets(pk) == {"imap_password": "p"}
    assert bytes(Credential.objects.get(pk=pk).sealed) != b"p"
    assert kinds(pk) == [1]


def test_the_same_address_is_the_same_account_and_valid_again(application: Application) -> None:
    pk = bare(store_account, new(application))
    bare(invalidate_account, account_id=pk, reason="refused")
    assert GrantDirectory.objects.get(pk=pk).status == Status.INVALID
    assert bare(store_account, new(application, "ada@EXAMPLE.org", "q")) == pk
    assert (Account.objects.get(pk=pk).status, GrantDirectory.objects.get(pk=pk).status) == ("valid", "valid")
    assert read_secrets(pk) == {"imap_password": "q"}
    assert kinds(pk) == [1, 2, 2]
    assert bare(store_account, new(default_application("another"))) != pk


def test_statuses_change_once_and_an_invalid_account_may_be_paused_but_not_the_reverse(
    application: Application,
) -> None:
    pk = bare(store_account, new(application))
    assert [bare(pause_account, account_id=pk), bare(pause_account, account_id=pk)] == [True, False]
    assert bare(invalidate_account, account_id=pk, reason="x") is False
    assert [bare(resume_account, account_id=pk), bare(resume_account, account_id=pk)] == [True, False]
    assert kinds(pk) == [1, 2, 2]
    with pytest.raises(AccountNotFound):
        bare(pause_account, account_id=pk + 1)


def test_a_directory_row_that_a_crash_left_alone_becomes_the_account_that_is_stored_next(
    application: Application,
) -> None:
    long_ago = timezone.now() - timedelta(days=1)
    GrantDirectory.objects.create(
        account_id=77_000, application=application, email="ada@example.org", provider="imap", created_at=long_ago
    )
    assert bare(store_account, new(application)) == 77_000
    assert GrantDirectory.objects.get(pk=77_000).created_at > long_ago
    assert kinds(77_000) == [1]


def test_accounts_are_found_by_id_and_by_email_in_every_application(application: Application) -> None:
    one = bare(store_account, new(application))
    two = bare(store_account, new(default_application("another")))
    assert [grant.pk for grant in find_grants(str(one))] == [one]
    assert {grant.pk for grant in find_grants("ADA@example.org")} == {one, two}
    assert [grant.pk for grant in find_grants("ada@example.org", application="another")] == [two]
    assert find_grants("nobody@example.org") == []


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_many_who_connect_the_same_address_at_once_get_one_account(application: Application) -> None:
    found: list[int | BaseException] = []
    gate = threading.Barrier(6)

    def connect(number: int) -> None:
        gate.wait(20)
        try:
            found.append(store_account(new(application, password=str(number))))
        except BaseException as error:
            found.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=connect, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert len(set(found)) == 1, found
    with on_shard(shard=0):
        assert list(Account.objects.values_list("pk", flat=True)) == found[:1]
    assert list(GrantDirectory.objects.values_list("pk", flat=True)) == found[:1]
    assert kinds(int(str(found[0]))) == [1] + [2] * 5
