"""The backend among greenlets, under gevent's monkey-patch; each scene in a process of its own (scenes.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

POOL = 10


def play(scene: str) -> dict[str, Any]:
    """Return what a scene saw."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.project.postgres.scenes", scene],
        env={**os.environ, "DB_POOL_SIZE": str(POOL), "PROCESS_ROLE": "worker"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    saw: dict[str, Any] = json.loads(done.stdout)
    return saw


def test_two_hundred_greenlets_never_have_more_connections_than_the_pool() -> None:
    saw = play("bound")
    assert saw["done"] == 200
    assert saw["looks"] > 20
    assert saw["most"] == POOL
    assert saw["state"] == [0, POOL]
    assert saw["lag"] < 0.5


def test_a_hundred_mail_servers_that_hang_leave_the_database_free() -> None:
    saw = play("hanging_servers")
    assert saw["seconds"] < 0.5
    assert saw["state"][0] == 1


def test_query_given_up_by_its_greenlet_leaves_no_broken_connection() -> None:
    saw = play("client_timeout")
    assert saw == {"raised": True, "state": [0, 0], "other": True, "stopped": True}


def test_greenlet_killed_in_a_transaction_leaves_neither_lock_nor_connection() -> None:
    saw = play("killed_in_transaction")
    assert saw["lent"] == 1
    assert saw["most"] <= POOL


def test_greenlets_that_give_nothing_back_take_no_place_for_good() -> None:
    saw = play("forgetful")
    assert saw["seconds"] < 5
    assert saw["lent"] <= POOL


def test_statement_that_takes_too_long_is_ended_and_its_connection_dropped() -> None:
    saw = play("server_timeout")
    assert "statement timeout" in saw["error"]
    assert saw["state"] == [0, 0]
    assert saw["other"]
    assert saw["goes on after a savepoint"] == 1


def test_server_side_cursors_large_results_and_arrays_work_among_greenlets() -> None:
    assert play("reading") == {
        "first": 1,
        "rest": 2400,
        "bytes": 20_000_000,
        "sum": 50_000 * 49_999 // 2,
    }


def test_server_that_accepts_and_never_answers_stops_nobody_else() -> None:
    saw = play("unreachable")
    assert "no connection within" in saw["error"]
    assert saw["lag"] < 0.2
