"""The pool among threads: bounded, in order, and never lending what is not clean."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import OperationalError, connections, transaction

from project.postgres import NoFreeConnection, PoolState, pool_states
from project.postgres.pool import close_pool
from tests.project.postgres.asking import ask, backend, in_thread, wait_until
from tests.project.postgres.conftest import ALIAS, NAME, Views

COUNT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


def has_backend(pid: int) -> bool:
    """Whether a server process is there."""
    return bool(ask(connections["default"], "SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid))


def test_connection_is_lent_again_after_close(view: Views) -> None:
    first, second = view(), view()
    pid = backend(first)
    first.close()
    assert backend(second) == pid
    assert pool_states()[ALIAS] == PoolState(lent=1, idle=0, waiting=0, size=2)


def test_threads_never_have_more_connections_than_the_bound(view: Views) -> None:
    counts: list[int] = []

    def work() -> None:
        mine = view(pool_size=3)
        for _ in range(10):
            ask(mine, "SELECT pg_sleep(0.002)")
            counts.append(ask(mine, COUNT, NAME))
            mine.close()

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counts) == 120
    assert max(counts) == 3
    assert pool_states()[ALIAS].lent == 0


def test_waiting_for_a_busy_pool_ends_with_an_error_that_names_the_setting(view: Views) -> None:
    first, second, third = view(pool_wait=0.2), view(pool_wait=0.2), view(pool_wait=0.2)
    backend(first), backend(second)
    began = time.monotonic()
    with pytest.raises(NoFreeConnection, match=r"all 2 connections.*DB_POOL_SIZE"):
        backend(third)
    assert 0.1 < time.monotonic() - began < 2
    assert pool_states()[ALIAS].waiting == 0
    first.close()
    assert backend(third)


def test_who_waits_longest_is_served_first(view: Views) -> None:
    holder = view(pool_size=1)
    backend(holder)
    served: list[int] = []

    def wait(number: int) -> None:
        mine = view(pool_size=1)
        backend(mine)
        served.append(number)
        mine.close()

    threads = [threading.Thread(target=wait, args=[number]) for number in range(5)]
    for waiting, thread in enumerate(threads, start=1):
        thread.start()
        while pool_states()[ALIAS].waiting < waiting:
            time.sleep(0.001)
    holder.close()
    for thread in threads:
        thread.join()
    assert served == [0, 1, 2, 3, 4]


def test_open_transaction_is_rolled_back_before_the_next_may_have_the_connection(view: Views) -> None:
    first, second = view(), view()
    pid = backend(first)
    first.set_autocommit(False)
    ask(first, "CREATE TABLE half_done (n int); SELECT 1")
    first.close()
    assert backend(second) == pid
    assert ask(second, "SELECT to_regclass('half_done')") is None
    assert second.get_autocommit()


def test_connection_closed_inside_atomic_is_not_lent_again(view: Views) -> None:
    first = view()
    pid = backend(first)
    connections.databases[ALIAS] = connections.databases["default"]
    connections[ALIAS] = first
    try:
        with transaction.atomic(ALIAS):
            assert backend(first) == pid
            first.close()
    finally:
        del connections[ALIAS], connections.databases[ALIAS]
    assert backend(view()) != pid
    assert pool_states()[ALIAS].lent == 1
    assert wait_until(lambda: not has_backend(pid))


def test_connection_hit_by_a_timeout_is_not_lent_again(view: Views) -> None:
    first, second = view(statement_timeout=0.05), view()
    pid = backend(first)
    with pytest.raises(OperationalError, match="statement timeout"):
        ask(first, "SELECT pg_sleep(5)")
    first.close()
    assert backend(second) != pid
    assert wait_until(lambda: not has_backend(pid))


def test_idle_connection_that_the_server_closed_is_noticed_before_it_is_lent(view: Views) -> None:
    first, second = view(), view()
    pid = backend(first)
    first.close()
    assert ask(connections["default"], "SELECT pg_terminate_backend(%s, 5000)", pid)
    assert backend(second) != pid


def test_connection_that_breaks_in_use_is_replaced_at_the_next_query(view: Views) -> None:
    first = view()
    pid = backend(first)
    assert ask(connections["default"], "SELECT pg_terminate_backend(%s, 5000)", pid)
    with pytest.raises(OperationalError):
        backend(first)
    assert backend(first) != pid
    assert pool_states()[ALIAS].lent == 1


def test_thread_that_ends_without_giving_back_takes_no_place_for_good(view: Views) -> None:
    for _ in range(2):
        in_thread(lambda: backend(view()))
    assert pool_states()[ALIAS].lent == 2
    began = time.monotonic()
    assert backend(view())
    assert time.monotonic() - began < 0.5
    assert pool_states()[ALIAS].lent == 1


def test_idle_connections_close_with_the_pool_and_lent_ones_as_they_come_back(view: Views) -> None:
    idle, lent = view(), view()
    pids = [backend(idle), backend(lent)]
    idle.close()
    close_pool(ALIAS)
    assert wait_until(lambda: not has_backend(pids[0]))
    assert has_backend(pids[1])
    lent.close()
    assert wait_until(lambda: not has_backend(pids[1]))
    # what follows gets a pool of its own
    assert backend(idle) not in pids


def test_changed_database_name_never_gets_a_connection_to_the_old_one(view: Views) -> None:
    first, second = view(), view()
    old = ask(first, "SELECT current_database()")
    first.close()
    second.settings_dict["NAME"] = "postgres"
    assert ask(second, "SELECT current_database()") == "postgres" != old
