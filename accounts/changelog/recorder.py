"""Writing the log: transactions are recorded under their account's lock, within the transaction that changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connections

from accounts.changelog.locks import (
    HEADS,
    LockOrder,
    NoHead,
    alias_of_accounts,
    allow_unlogged,
    door,
    hold_on,
    lock_account,
    open_head,
)
from accounts.changelog.words import Kind, ObjectType

__all__ = [
    "Entry",
    "LockOrder",
    "NoHead",
    "allow_unlogged",
    "door",
    "lock_account",
    "open_head",
    "record",
    "record_entries",
]

# One statement: the head counts up, and the rows take the numbers it passed, in the order given.
_RECORD = f"""
WITH head AS (
    UPDATE {HEADS} SET last_seq = last_seq + %(count)s WHERE account_id = %(account)s RETURNING last_seq
)
INSERT INTO accounts_transaction (account_id, seq, object_id, recorded_at, object_type, kind, tombstone)
SELECT %(account)s, head.last_seq - %(count)s + entry.place, entry.id, clock_timestamp(),
       entry.type, entry.kind, entry.tombstone::jsonb
FROM head, unnest(%(ids)s::bigint[], %(types)s::smallint[], %(kinds)s::smallint[], %(tombstones)s::text[])
     WITH ORDINALITY AS entry (id, type, kind, tombstone, place)
"""


class Entry(NamedTuple):
    """One change on its way into the log."""

    object_type: ObjectType
    object_id: int
    kind: Kind
    #: Of a deleted object: what `LoggedModel.tombstone` says.
    tombstone: Mapping[str, Any] | None = None


def record(
    account_id: int, object_type: ObjectType, object_ids: Iterable[int], kind: Kind, *, using: str | None = None
) -> None:
    """Log one kind of change of many objects, in the order given. Call inside `lock_account`, else LockOrder."""
    ids = list(dict.fromkeys(object_ids))
    _write(account_id, ids, [int(object_type)] * len(ids), [int(kind)] * len(ids), [], using)


def record_entries(account_id: int, entries: Iterable[Entry], *, using: str | None = None) -> None:
    """Log changes of one account with one statement, each object once: of two entries of one object the later counts.

    Call inside `lock_account` of the account, else LockOrder; inside `allow_unlogged` nothing is written.
    """
    once = {(entry.object_type, entry.object_id): entry for entry in entries}.values()
    kept = [entry.tombstone for entry in once] if any(entry.tombstone is not None for entry in once) else []
    _write(
        account_id,
        [entry.object_id for entry in once],
        [int(entry.object_type) for entry in once],
        [int(entry.kind) for entry in once],
        kept,
        using,
    )


def _write(
    account_id: int,
    ids: Sequence[int],
    types: Sequence[int],
    kinds: Sequence[int],
    tombstones: Sequence[Mapping[str, Any] | None],
    using: str | None,
) -> None:
    alias = using or alias_of_accounts([account_id])
    hold = hold_on(alias)
    if hold is not None and hold.unlogged:
        return
    if hold is None or account_id not in hold.accounts:
        raise LockOrder(f"a change of account {account_id} is recorded without its lock: open lock_account first")
    if not ids:
        return
    parameters: dict[str, Any] = {
        "account": account_id,
        "count": len(ids),
        "ids": _array(ids),
        "types": _array(types),
        "kinds": _array(kinds),
        # an array too short is filled up with NULL
        "tombstones": [None if one is None else json.dumps(one, cls=DjangoJSONEncoder) for one in tombstones],
    }
    with connections[alias].cursor() as cursor:
        cursor.execute(_RECORD, parameters)
        if cursor.rowcount != len(ids):
            raise NoHead(f"no head of account {account_id}")
    hold.recorded.add(account_id)


def record_each(entries: Iterable[tuple[int, Entry]], *, using: str) -> None:
    """Log changes of any accounts, each given with its account."""
    of_account: defaultdict[int, list[Entry]] = defaultdict(list)
    for account_id, entry in entries:
        of_account[account_id].append(entry)
    for account_id in sorted(of_account):
        record_entries(account_id, of_account[account_id], using=using)


def _array(numbers: Iterable[int]) -> str:
    """Write an array as PostgreSQL's own text: quoting every element costs more than storing it."""
    return f"{{{','.join(map(str, numbers))}}}"
