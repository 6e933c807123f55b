"""Reading the log of one account: pages in commit order, each object once a page (api.md 12.1)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections

from accounts.changelog.cursors import BadCursor, decode_cursor, encode_cursor
from accounts.changelog.locks import NoHead
from accounts.changelog.models import TransactionHead
from accounts.changelog.pruning import prune
from accounts.changelog.words import OBJECT_TYPES, Kind, ObjectType
from project.shards import alias_at_hand

__all__ = [
    "BadCursor",
    "Change",
    "Changes",
    "CursorExpired",
    "decode_cursor",
    "encode_cursor",
    "latest",
    "prune",
    "read_changes",
]

#: What is read when no types are named: a notice is no object.
OBJECTS = frozenset(OBJECT_TYPES) - {ObjectType.NOTICE.label}

# Head and rows in one statement, so of one moment: a pruning cannot come between them.
_READ = """
SELECT head.last_seq, head.pruned_seq, row.seq, row.object_type, row.object_id, row.kind, row.recorded_at,
       row.tombstone::text
FROM accounts_transactionhead AS head
LEFT JOIN LATERAL (
    SELECT * FROM accounts_transaction
    WHERE account_id = head.account_id AND seq > coalesce(%(after)s, head.pruned_seq)
    ORDER BY seq LIMIT %(limit)s
) AS row ON true
WHERE head.account_id = %(account)s
ORDER BY row.seq
"""


class CursorExpired(LookupError):
    """What follows this place was pruned, or it lies ahead of the log: crawl again from `latest`."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object within a page."""

    #: Of the object's last transaction in the page.
    seq: int
    #: The words of the wire.
    type: str
    op: str
    object_id: int
    at: datetime
    #: Of a deleted object: what is known of it beyond its id.
    tombstone: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of an account's log."""

    rows: list[Change]
    #: The place to go on from: the last transaction read, shown or not.
    last_seq: int
    #: There was more when the page was read.
    has_more: bool
    #: Nothing was ever pruned: all changes from the beginning make exactly what the lists show.
    complete: bool


def read_changes(account_id: int, after: int | None, limit: int, types: Collection[str] | None = None) -> Changes:
    """Read at most `limit` transactions behind seq `after`; None: from the oldest kept.

    `types`: words of the wire to show; None: every object, no notices. They move the place past what they hide.
    Raises CursorExpired, and NoHead where the account never existed.
    """
    with connections[alias_at_hand(account_id)].cursor() as cursor:
        cursor.execute(_READ, {"account": account_id, "after": after, "limit": limit})
        read = cursor.fetchall()
    if not read:
        raise NoHead(f"no log of account {account_id}")
    last_seq, pruned_seq = read[0][:2]
    place = pruned_seq if after is None else after
    if not pruned_seq <= place <= last_seq:
        raise CursorExpired(f"place {place} of account {account_id}: its log has {pruned_seq + 1} to {last_seq}")
    rows = [row[2:] for row in read if row[2] is not None]
    place = rows[-1][0] if rows else place
    shown = {OBJECT_TYPES[word] for word in (OBJECTS if types is None else types)}
    return Changes(_collapse(rows, shown), place, has_more=place < last_seq, complete=pruned_seq == 0)


def _collapse(rows: Iterable[tuple[Any, ...]], shown: set[ObjectType]) -> list[Change]:
    """Give each object once, at the place of its last change: deleted when that was a deletion, else created when its
    first entry was, else updated."""
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], tuple[Any, ...]] = {}
    for row in rows:
        _, object_type, object_id, kind, *_ = row
        if object_type in shown:
            key = (object_type, object_id)
            first.setdefault(key, kind)
            # moves it to the end
            last.pop(key, None)
            last[key] = row
    return [_change(row, first[key]) for key, row in last.items()]


def _change(row: tuple[Any, ...], first_kind: int) -> Change:
    seq, object_type, object_id, kind, at, tombstone = row
    if kind != Kind.DELETED:
        kind = Kind.CREATED if first_kind == Kind.CREATED else Kind.UPDATED
    kept = None if tombstone is None else json.loads(tombstone)
    return Change(seq, str(ObjectType(object_type).label), str(Kind(kind).label), object_id, at, kept)


def latest(account_id: int) -> int:
    """Return the seq of the newest transaction, 0 before the first. Raises NoHead."""
    heads = TransactionHead.objects.using(alias_at_hand(account_id))
    seq = heads.filter(pk=account_id).values_list("last_seq", flat=True).first()
    if seq is None:
        raise NoHead(f"no log of account {account_id}")
    return seq
