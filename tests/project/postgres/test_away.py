"""A database that is away is told from one that refuses, and waited for."""

from __future__ import annotations

import time

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from project.postgres import away
from project.postgres.away import is_away, patiently
from project.postgres.pool import NoFreeConnection
from tests.project.postgres.asking import lost_connection


def test_a_connection_that_broke_is_away(transactional_db: None) -> None:
    assert is_away(lost_connection())


@pytest.mark.parametrize(
    "statement", ["SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)", "SELECT 1/0", "SELECT * FROM nowhere"]
)
def test_a_database_that_refuses_is_not_away(db: None, statement: str) -> None:
    with pytest.raises(DatabaseError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert not is_away(refused.value)


def test_a_busy_pool_is_not_away() -> None:
    assert not is_away(NoFreeConnection("all busy"))
    assert not is_away(ValueError("no database at all"))


def test_work_is_done_again_until_the_database_is_back() -> None:
    tries: list[float] = []

    def work() -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise OperationalError("could not connect")
        return "done"

    assert patiently(work, seconds=10) == "done"
    assert len(tries) == 3
    assert tries[2] - tries[0] >= 2 * away.PAUSE


def test_nobody_waits_for_ever() -> None:
    def work() -> None:
        raise OperationalError("could not connect")

    began = time.monotonic()
    with pytest.raises(OperationalError):
        patiently(work, seconds=0.6)
    assert time.monotonic() - began < 5


def test_what_the_database_refuses_is_not_tried_again() -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        raise NoFreeConnection("all busy")

    with pytest.raises(NoFreeConnection):
        patiently(work, seconds=10)
    assert len(tries) == 1
