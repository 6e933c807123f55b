"""A database that is away for a moment, as while its server starts again: told from one that refuses; waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from django.db import InterfaceError, OperationalError

from project.postgres.pool import NoFreeConnection

log = structlog.get_logger(__name__)

#: Seconds between two tries.
PAUSE = 0.5
#: SQLSTATE classes (PostgreSQL, appendix A) of a connection that broke, and of a server that stops or starts.
AWAY_CLASSES = ("08", "57P")

Answer = TypeVar("Answer")


def is_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be reached, not that it refused what was asked."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, OperationalError) or isinstance(error, NoFreeConnection):
        return False
    code: str | None = getattr(error.__cause__, "pgcode", None)
    # libpq itself knows no codes: it could not connect, or the connection broke
    return code is None or code.startswith(AWAY_CLASSES)


def patiently(work: Callable[[], Answer], *, seconds: float) -> Answer:
    """Do a piece of database work; while the database is away, again and again for so many seconds.

    `work` may be done twice: its connection can break after the commit. It must do no harm then.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            if not is_away(error) or time.monotonic() > deadline:
                raise
            log.warning("database_away", error=str(error).partition("\n")[0])
        time.sleep(PAUSE)
