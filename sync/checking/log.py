"""The log against the tables: each object that lives was created and not deleted since, and the reverse.

Each statement sees one moment; rows and their transactions are written in one commit, so what differs is wrong at any
time. What was pruned is not held against the log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections, router

from accounts.changelog.models import Transaction, TransactionHead
from accounts.changelog.words import Kind as Op
from accounts.changelog.words import ObjectType
from accounts.models import Account
from sync.checking.values import Difference, Json, Kind
from sync.models import Folder, Message, Thread

#: Differences of one sort, at most.
MOST = 10_000

_VALUES = {
    "message": ObjectType.MESSAGE.value,
    "draft": ObjectType.DRAFT.value,
    "thread": ObjectType.THREAD.value,
    "folder": ObjectType.FOLDER.value,
    "grant": ObjectType.GRANT.value,
    "created": Op.CREATED.value,
    "deleted": Op.DELETED.value,
    "most": MOST,
}

# The account's log as far as it reaches back, with what was said of the same object before and after.
_ENTRIES = f"""
WITH head AS (
    SELECT last_seq, pruned_seq FROM {TransactionHead._meta.db_table} WHERE account_id = %(account)s
), entry AS (
    SELECT t.seq, t.object_type, t.object_id, t.kind, t.recorded_at, head.pruned_seq,
        lag(t.kind) OVER same AS before, lead(t.seq) OVER same IS NULL AS is_last
    FROM {Transaction._meta.db_table} t, head
    WHERE t.account_id = %(account)s AND t.seq > head.pruned_seq
        AND t.object_type IN (%(message)s, %(draft)s, %(thread)s, %(folder)s, %(grant)s)
    WINDOW same AS (PARTITION BY t.object_type, t.object_id ORDER BY t.seq)
)
"""


def check_log(account_id: int) -> Iterator[Difference]:
    """Compare the log of an account with its tables, and with itself."""
    yield from _check_objects(account_id)
    yield from _check_order(account_id)
    yield from _check_gaps(account_id)


def _rows(statement: str, account_id: int) -> list[tuple[Any, ...]]:
    with connections[router.db_for_read(Message)].cursor() as cursor:
        cursor.execute(statement, _VALUES | {"account": account_id})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


_OBJECTS = f"""
{_ENTRIES}, alive AS (
    SELECT CASE WHEN is_draft THEN %(draft)s ELSE %(message)s END AS object_type, id AS object_id, created_at
    FROM {Message._meta.db_table} WHERE account_id = %(account)s
    UNION ALL SELECT %(thread)s, id, NULL FROM {Thread._meta.db_table} WHERE account_id = %(account)s
    UNION ALL SELECT %(folder)s, id, NULL FROM {Folder._meta.db_table} WHERE account_id = %(account)s
    UNION ALL SELECT %(grant)s, id, created_at FROM {Account._meta.db_table} WHERE id = %(account)s
), last AS (
    SELECT object_type, object_id, kind FROM entry WHERE is_last
), reach AS (
    SELECT (SELECT pruned_seq = 0 FROM head) AS whole, (SELECT min(recorded_at) FROM entry) AS since
)
SELECT object_type, object_id, alive.object_id IS NOT NULL, last.kind
FROM alive FULL JOIN last USING (object_type, object_id), reach
WHERE (last.object_id IS NULL AND (reach.whole OR alive.created_at > reach.since))
    OR (alive.object_id IS NOT NULL AND last.kind = %(deleted)s)
    OR (alive.object_id IS NULL AND last.kind <> %(deleted)s)
ORDER BY object_type, object_id LIMIT %(most)s
"""


def _check_objects(account_id: int) -> Iterator[Difference]:
    for object_type, object_id, alive, kind in _rows(_OBJECTS, account_id):
        said: Json = None if kind is None else str(Op(kind).label)
        missing = Kind.LOG_MISSING if alive else Kind.LOG_EXTRA
        yield _difference(missing, object_type, object_id, "exists" if alive else None, said)


_ORDER = f"""
{_ENTRIES}
SELECT object_type, object_id, before, kind FROM entry
WHERE CASE
    WHEN before IS NULL THEN pruned_seq = 0 AND kind <> %(created)s
    WHEN before = %(deleted)s THEN kind <> %(created)s
    ELSE kind = %(created)s
END
ORDER BY seq LIMIT %(most)s
"""


def _check_order(account_id: int) -> Iterator[Difference]:
    for object_type, object_id, before, kind in _rows(_ORDER, account_id):
        after = "nothing" if before is None else str(Op(before).label)
        said = f"{Op(kind).label} after {after}"
        wanted = "updated or deleted" if before is not None and before != Op.DELETED else "created"
        yield _difference(Kind.LOG_ORDER, object_type, object_id, said, wanted)


_GAPS = f"""
WITH head AS (
    SELECT last_seq, pruned_seq FROM {TransactionHead._meta.db_table} WHERE account_id = %(account)s
), numbers AS (
    SELECT pruned_seq AS seq FROM head
    UNION ALL
    SELECT t.seq FROM {Transaction._meta.db_table} t, head WHERE t.account_id = %(account)s AND t.seq > head.pruned_seq
), pairs AS (
    SELECT seq, lead(seq, 1, (SELECT last_seq + 1 FROM head)) OVER (ORDER BY seq) AS next FROM numbers
)
SELECT seq, next FROM pairs WHERE next <> seq + 1 ORDER BY seq LIMIT %(most)s
"""


def _check_gaps(account_id: int) -> Iterator[Difference]:
    for seq, following in _rows(_GAPS, account_id):
        told = {"after": seq, "next": following}
        yield Difference(Kind.LOG_GAP, None, told, {"after": seq, "next": seq + 1})


def _difference(kind: Kind, object_type: int, object_id: int, mirror: Json, said: Json) -> Difference:
    word = str(ObjectType(object_type).label)
    message_id = object_id if word in ("message", "draft") else None
    return Difference(kind, None, mirror, said, message_id=message_id, object_type=word, object_id=object_id)
