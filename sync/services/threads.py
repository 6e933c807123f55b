"""Which thread a message belongs to, and what a thread's columns say.

All writing here happens inside the caller's `lock_account`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, router

from accounts.changelog.models import Kind, ObjectType
from accounts.changelog.recorder import record
from accounts.models import Account
from sync.models import Folder, Message, Thread, ThreadKey


def thread_key(message_id: str) -> bytes:
    """The key of a message id in `ThreadKey`."""
    return hashlib.blake2b(message_id.encode("utf-8", "replace"), digest_size=16).digest()


class _Forest:
    """Threads that turn out to be one, over one batch. Numbers below zero are threads still to be made."""

    def __init__(self, known: dict[bytes, int]) -> None:
        self.known = dict(known)
        self.fresh = 0
        self.into: dict[int, int] = {}

    def root(self, thread: int) -> int:
        while thread in self.into:
            thread = self.into[thread]
        return thread

    def join(self, keys: Sequence[bytes]) -> int:
        """Return the thread that these keys tie together: the oldest known one, else a new one."""
        found = sorted({self.root(self.known[key]) for key in keys if key in self.known}, key=_age)
        if not found:
            self.fresh -= 1
            found = [self.fresh]
        for younger in found[1:]:
            self.into[younger] = found[0]
        self.known.update(dict.fromkeys(keys, found[0]))
        return found[0]


def _age(thread: int) -> tuple[bool, int]:
    return thread < 0, abs(thread)


def assign_threads(
    account_id: int, ids_of: Sequence[Sequence[str]], rows: Sequence[Mapping[str, Any]]
) -> tuple[list[int], set[int]]:
    """Find or make the thread of each message, by the ids that tie it to others, its own first.

    `rows`: the columns of the messages, which are not stored yet. Returns a thread id for each, and which threads are
    known ones: those are to be refreshed afterwards, new ones say already what their messages make of them. Threads
    that a message ties together are merged into the oldest. The result does not depend on the order in which messages
    arrive. Source: J. Zawinski, "message threading".
    """
    keys_of = [[thread_key(one) for one in ids] for ids in ids_of]
    every = sorted({key for keys in keys_of for key in keys})
    found = ThreadKey.objects.filter(account_id=account_id, key__in=every).values_list("key", "thread_id")
    known = {bytes(key): thread for key, thread in found}
    forest = _Forest(known)
    joined = [forest.join(keys) for keys in keys_of]
    roots = [forest.root(thread) for thread in joined]
    made = _make_threads(account_id, roots, rows)
    _merge(account_id, {lost: forest.root(lost) for lost in forest.into if lost > 0})
    added = [(key, forest.root(thread)) for key, thread in forest.known.items() if key not in known]
    _add_keys(account_id, [(key, made.get(root, root)) for key, root in added])
    return [made.get(root, root) for root in roots], {root for root in roots if root > 0}


def _make_threads(account_id: int, roots: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Make the threads whose root is below zero, of the rows that have it; return root -> id."""
    members: dict[int, list[Mapping[str, Any]]] = {}
    for root, row in zip(roots, rows, strict=True):
        if root < 0:
            members.setdefault(root, []).append(row)
    if not members:
        return {}
    own = _Own.of(account_id)
    made = [{"account_id": account_id, **_thread_columns(each, own)} for each in members.values()]
    return dict(zip(members, Thread.objects.bulk_insert(made), strict=True))


@dataclass(frozen=True, slots=True)
class _Own:
    """How the owner's own mail is told: by the folder it lies in, or by its sender."""

    email: str
    sent_folders: frozenset[int]

    @classmethod
    def of(cls, account_id: int) -> _Own:
        email = Account.objects.values_list("email", flat=True).get(pk=account_id)
        sent = Folder.objects.filter(account_id=account_id, role="sent").values_list("id", flat=True)
        return cls(email.lower(), frozenset(sent))

    def wrote(self, row: Mapping[str, Any]) -> bool:
        """Whether the owner wrote the message of these columns."""
        senders = row["from_addresses"]
        return bool(
            self.sent_folders & set(row["folder_ids"]) or (senders and senders[0]["email"].lower() == self.email)
        )


def _thread_columns(rows: Sequence[Mapping[str, Any]], own: _Own) -> dict[str, Any]:
    """What `_REFRESH` says of messages that are stored, said of messages that are about to be."""
    # stable: of two with one date, the first gets the lower id
    ordered = sorted(rows, key=lambda row: (row["is_draft"], row["date"]))
    shown = [row for row in ordered if not row["is_draft"]]
    received = [row["date"] for row in shown if not own.wrote(row)]
    sent = [row["date"] for row in shown if own.wrote(row)]
    return {
        "subject": ordered[0]["subject"],
        "latest_date": max(row["date"] for row in shown or ordered),
        "earliest_message_date": min((row["date"] for row in shown), default=None),
        "latest_message_received_date": max(received, default=None),
        "latest_message_sent_date": max(sent, default=None),
        "unread": any(row["unread"] for row in shown),
        "starred": any(row["starred"] for row in shown),
        "has_attachments": any(row["has_attachments"] for row in shown),
        "has_drafts": len(shown) < len(ordered),
        "folder_ids": sorted({folder for row in rows for folder in row["folder_ids"]}),
    }


def _merge(account_id: int, into: dict[int, int]) -> None:
    for lost, kept in into.items():
        ThreadKey.objects.filter(thread_id=lost).update(thread_id=kept)
        Message.objects.filter(thread_id=lost).update(thread_id=kept)
        Thread.objects.filter(pk=lost).delete()
        refresh_threads(account_id, {kept})


def _add_keys(account_id: int, keys: list[tuple[bytes, int]]) -> None:
    if keys:
        with connections[router.db_for_write(ThreadKey)].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {ThreadKey._meta.db_table} (account_id, key, thread_id)"
                " SELECT %s, key, thread FROM unnest(%s::bytea[], %s::bigint[]) AS t(key, thread)",
                [account_id, *map(list, zip(*keys, strict=True))],
            )


_REFRESH = f"""
WITH facts AS (
    SELECT m.thread_id,
        (array_agg(m.subject ORDER BY m.is_draft, m.date, m.id))[1] AS subject,
        coalesce(max(m.date) FILTER (WHERE NOT m.is_draft), max(m.date)) AS latest_date,
        min(m.date) FILTER (WHERE NOT m.is_draft) AS earliest,
        max(m.date) FILTER (WHERE NOT m.is_draft AND NOT s.sent) AS received,
        max(m.date) FILTER (WHERE NOT m.is_draft AND s.sent) AS sent,
        coalesce(bool_or(m.unread) FILTER (WHERE NOT m.is_draft), false) AS unread,
        coalesce(bool_or(m.starred) FILTER (WHERE NOT m.is_draft), false) AS starred,
        coalesce(bool_or(m.has_attachments) FILTER (WHERE NOT m.is_draft), false) AS has_attachments,
        bool_or(m.is_draft) AS has_drafts
    FROM {Message._meta.db_table} m,
        LATERAL (SELECT m.folder_ids && %(sent_folders)s::bigint[]
            OR lower(m.from_addresses -> 0 ->> 'email') = %(email)s AS sent) s
    WHERE m.thread_id = ANY(%(threads)s)
    GROUP BY m.thread_id
), places AS (
    SELECT m.thread_id, array_agg(DISTINCT folder ORDER BY folder) AS folder_ids
    FROM {Message._meta.db_table} m, unnest(m.folder_ids) AS folder
    WHERE m.thread_id = ANY(%(threads)s)
    GROUP BY m.thread_id
)
UPDATE {Thread._meta.db_table} t
SET subject = f.subject, latest_date = f.latest_date, earliest_message_date = f.earliest,
    latest_message_received_date = f.received, latest_message_sent_date = f.sent, unread = f.unread,
    starred = f.starred, has_attachments = f.has_attachments, has_drafts = f.has_drafts,
    folder_ids = coalesce(p.folder_ids, '{{}}')
FROM facts f LEFT JOIN places p USING (thread_id)
WHERE t.id = f.thread_id
RETURNING t.id
"""


def refresh_threads(account_id: int, thread_ids: Iterable[int]) -> None:
    """Recompute threads whose messages changed in this commit, and log them; one left without messages is deleted.

    A thread shows its newest message, so it counts as updated whenever one of its messages is.
    """
    ids = sorted(set(thread_ids))
    if not ids:
        return
    own = _Own.of(account_id)
    values: dict[str, Any] = {"threads": ids, "email": own.email, "sent_folders": sorted(own.sent_folders)}
    with connections[router.db_for_write(Thread)].cursor() as cursor:
        cursor.execute(_REFRESH, values)
        alive = {pk for (pk,) in cursor.fetchall()}
    record(account_id, ObjectType.THREAD, sorted(alive), Kind.UPDATED)
    empty = set(ids) - alive
    if empty:
        Thread.objects.filter(pk__in=empty).delete()
