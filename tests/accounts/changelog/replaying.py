"""What a client that follows the log holds, and what it would crawl: the two must be equal, always."""

from __future__ import annotations

from typing import Any

from accounts.changelog.logged import LoggedModel
from accounts.changelog.reader import read_changes
from sync.models import Folder, Message, Thread

#: (type, id) -> the public columns.
Snapshot = dict[tuple[str, int], dict[str, object]]
MODELS: tuple[type[LoggedModel], ...] = (Folder, Thread, Message)


def rows_of(model: Any, account_id: int) -> Any:
    """The rows of an account, oldest first."""
    return model.objects.filter(account_id=account_id).order_by("pk")


def public_row(row: LoggedModel) -> dict[str, object]:
    """The public columns of a row."""
    values = {name: getattr(row, name) for name in row.public_fields()}
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in values.items()}


def snapshot(account_id: int) -> Snapshot:
    """Crawl the account, as a client does."""
    found: Snapshot = {}
    for model in MODELS:
        for row in rows_of(model, account_id):
            flag = getattr(row, row.log_type_flag) if row.log_type_flag else None
            found[(str(row.object_type(flag).label), row.pk)] = public_row(row)
    return found


def replay(account_id: int, before: Snapshot, place: int, limit: int) -> Snapshot:
    """Apply the log from `place` on to a snapshot as api.md 12.1 tells clients to: upsert, delete, look up the rest.

    `limit`: changes a page.
    """
    now = snapshot(account_id)
    result = dict(before)
    more = True
    while more:
        page = read_changes(account_id, place, limit)
        for change in page.rows:
            key = (change.type, change.object_id)
            if change.type == "grant":
                continue
            if change.op == "deleted" or key not in now:
                result.pop(key, None)
            else:
                result[key] = now[key]
        place, more = page.last_seq, page.has_more
    return result
