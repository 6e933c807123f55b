"""The change log as clients read it: pages of changes with their cursors, also for commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

from accounts.changelog.cursors import decode_cursor, encode_cursor
from accounts.changelog.reader import Changes, latest, read_changes
from accounts.changelog.words import OBJECT_TYPES
from api.objects import objects_of_changes
from api.wire import Wire, change_wire
from project.postgres import give_back

#: Words that `types` may hold.
TYPES = tuple(OBJECT_TYPES)
DEFAULT_LIMIT = 100
MAX_LIMIT = 500
#: Seconds that a caller may wait for a change.
MAX_WAIT = 30.0
#: Seconds between two looks at the log while somebody waits for it.
LOOK_EVERY = 1.0
#: Callers that may wait in one process at once; one more is answered without waiting. Each holds a thread.
MAX_WAITING = 12

_waiting = threading.BoundedSemaphore(MAX_WAITING)


@dataclass(frozen=True, slots=True)
class ChangesPage:
    """A page as the wire shows it."""

    changes: list[Wire]
    next_cursor: str
    has_more: bool
    complete: bool


def changes_page(
    account_id: int,
    *,
    since: str | None,
    types: Collection[str] | None = None,
    limit: int = DEFAULT_LIMIT,
    wait: float = 0,
    objects: bool = False,
) -> ChangesPage:
    """Read a page behind the cursor `since`, waiting up to `wait` seconds for the first change; see api.md 12.1.

    `objects`: inline each object as it is now, None when it is gone; a notice always is. Call inside `on_shard`.
    Raises BadCursor, CursorExpired.
    """
    after = None if since is None else decode_cursor(account_id, since)
    read = _read(account_id, after, limit, types, wait)
    shown = _shown(account_id, read, objects=objects)
    return ChangesPage(shown, encode_cursor(account_id, read.last_seq), read.has_more, read.complete)


def latest_cursor(account_id: int) -> str:
    """Return the cursor behind the newest change. Call inside `on_shard`."""
    return encode_cursor(account_id, latest(account_id))


def _read(account_id: int, after: int | None, limit: int, types: Collection[str] | None, wait: float) -> Changes:
    read = read_changes(account_id, after, limit, types)
    if wait <= 0 or read.rows or not _waiting.acquire(blocking=False):
        return read
    try:
        return _wait(account_id, read, limit, types, until=time.monotonic() + wait)
    finally:
        _waiting.release()


def _wait(account_id: int, read: Changes, limit: int, types: Collection[str] | None, *, until: float) -> Changes:
    """Read on from an empty page until there is something to show, or the time is up."""
    while not read.rows:
        if not read.has_more:
            left = until - time.monotonic()
            if left <= 0:
                break
            give_back()
            time.sleep(min(LOOK_EVERY, left))
            if latest(account_id) == read.last_seq:
                continue
        read = read_changes(account_id, read.last_seq, limit, types)
    return read


def _shown(account_id: int, read: Changes, *, objects: bool) -> list[Wire]:
    wanted = [
        (one.type, one.object_id) for one in read.rows if one.type == "notice" or (objects and one.op != "deleted")
    ]
    found = objects_of_changes(account_id, wanted)
    shown = []
    for one in read.rows:
        change = change_wire(one, account_id=account_id, cursor=encode_cursor(account_id, one.seq))
        if objects or one.type == "notice":
            change["object"] = found.get((one.type, one.object_id))
        shown.append(change)
    return shown
