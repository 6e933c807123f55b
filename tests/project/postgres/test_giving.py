"""Giving the connection back before a wait."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections, transaction
from django.test import TestCase

from project.postgres import OpenTransaction, discard, give_back, pool_states, waiting
from tests.project.postgres.asking import ask, backend, wait_until


@pytest.mark.django_db(transaction=True)
def test_nothing_is_held_during_a_wait_and_the_next_query_goes_on() -> None:
    backend(connection)
    assert pool_states()["default"].lent == 1
    with waiting():
        assert pool_states()["default"].lent == 0
    assert backend(connection)


@pytest.mark.django_db(transaction=True)
def test_wait_inside_a_transaction_is_refused_and_the_transaction_goes_on() -> None:
    with transaction.atomic():
        pid = backend(connection)
        with pytest.raises(OpenTransaction, match="default"):
            give_back()
        assert backend(connection) == pid


@pytest.mark.django_db(transaction=True)
def test_wait_with_autocommit_off_is_refused() -> None:
    connection.set_autocommit(False)
    try:
        with pytest.raises(OpenTransaction):
            give_back()
    finally:
        connection.set_autocommit(True)


@pytest.mark.django_db(transaction=True)
def test_wait_while_an_iterator_reads_is_refused_until_it_ends() -> None:
    users = get_user_model().objects
    users.bulk_create(get_user_model()(username=str(number)) for number in range(30))
    reading = users.order_by("pk").iterator(chunk_size=10)
    next(reading)
    with pytest.raises(OpenTransaction, match="iterator"):
        give_back()
    assert len(list(reading)) == 29
    give_back()


@pytest.mark.django_db(transaction=True, databases=["default", "shard_1"])
def test_one_alias_is_given_back_alone() -> None:
    backend(connection)
    pid = backend(connections["shard_1"])
    give_back("default")
    assert pool_states()["default"].lent == 0
    assert backend(connections["shard_1"]) == pid


@pytest.mark.django_db(transaction=True)
def test_discarded_connection_takes_its_session_state_along() -> None:
    pid = backend(connection)
    ask(connection, "SELECT pg_advisory_lock(424242)")
    discard()
    assert backend(connection) != pid
    assert wait_until(lambda: ask(connection, "SELECT count(*) FROM pg_locks WHERE objid = 424242") == 0)


@pytest.mark.django_db(transaction=True)
def test_on_commit_hook_may_give_back() -> None:
    seen: list[int] = []
    with transaction.atomic():
        backend(connection)
        transaction.on_commit(give_back)
        transaction.on_commit(lambda: seen.append(pool_states()["default"].lent))
    assert seen == [0]


class InTestCase(TestCase):
    """Django's own transaction around a test."""

    def test_connection_of_a_test_case_stays_but_a_transaction_of_ours_is_refused(self) -> None:
        get_user_model().objects.create(username="kept")
        give_back()
        assert get_user_model().objects.filter(username="kept").exists()
        with transaction.atomic(), pytest.raises(OpenTransaction):
            give_back()
