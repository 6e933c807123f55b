"""What a session begins with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.project.postgres.asking import ask
from tests.project.postgres.conftest import Views


@pytest.mark.parametrize(("role", "limit"), [("web", "5s"), ("worker", "1min"), ("command", "0")])
def test_statement_timeout_depends_on_the_kind_of_process(view: Views, settings: Any, role: str, limit: str) -> None:
    settings.PROCESS_ROLE = role
    connection = view()
    assert ask(connection, "SHOW statement_timeout") == limit
    assert ask(connection, "SHOW lock_timeout") == "5s"
    assert ask(connection, "SHOW idle_in_transaction_session_timeout") == "15s"
    assert ask(connection, "SHOW TimeZone") == "UTC"


def test_session_tells_the_server_whose_it_is(view: Views) -> None:
    assert "mailmirror" in ask(view(), "SHOW application_name")


def test_options_of_the_url_win_over_ours(view: Views) -> None:
    connection = view(options="-c lock_timeout=1234ms")
    assert ask(connection, "SHOW lock_timeout") == "1234ms"
    assert ask(connection, "SHOW idle_in_transaction_session_timeout") == "15s"
    assert ask(view(statement_timeout=7), "SHOW statement_timeout") == "7s"


def test_limits_survive_a_reset(view: Views) -> None:
    connection = view()
    ask(connection, "SET lock_timeout = 0; RESET ALL; SELECT 1")
    assert ask(connection, "SHOW lock_timeout") == "5s"
