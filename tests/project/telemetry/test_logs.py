"""Logs: readable by machines, and free of secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from project.telemetry.logs import HIDDEN, configure_logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Put logging back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_event_is_one_json_object_with_what_is_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.contextvars.bind_contextvars(account_id=7)
    structlog.get_logger("sync").info("folder_synced", messages=3)
    logging.getLogger("library").warning("old %s", "way")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["messages"], ours["account_id"], ours["level"]) == ("folder_synced", 3, 7, "info")
    assert (theirs["event"], theirs["logger"], theirs["account_id"]) == ("old way", "library", 7)


@pytest.mark.parametrize("style", ["json", "console"])
def test_secrets_never_reach_the_log(capsys: pytest.CaptureFixture[str], style: str) -> None:
    configure_logging(style, "debug")
    log = structlog.get_logger("sync")
    log.info("login", password="hunter2", refresh_token="hunter2", login={"user": "u", "Client_Secret": "hunter2"})
    log.info("broker", url="redis://:hunter2@localhost/0")
    logging.getLogger("library").info("cannot reach postgresql://me:%s@db/mail", "hunter2")
    try:
        raise OSError("refused by redis://u:hunter2@localhost")
    except OSError:
        log.exception("failed")
    said = capsys.readouterr().err
    assert "hunter2" not in said.replace('raise OSError("refused by redis://u:hunter2@localhost")', "")
    assert said.count(HIDDEN) >= 5
    assert "localhost" in said


def test_level_keeps_lower_events_out(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "warning")
    structlog.get_logger("sync").info("quiet")
    logging.getLogger("library").info("quiet")
    structlog.get_logger("sync").warning("loud")
    said = capsys.readouterr().err
    assert "loud" in said
    assert "quiet" not in said
