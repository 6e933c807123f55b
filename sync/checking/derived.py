"""Public columns computed a second time, and rows that belong to others: what must follow from what.

Each statement sees one moment, and whoever writes keeps these rules within one commit: what differs here is wrong at
any time, also while mail is being mirrored.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import connections, router

from accounts.models import Account
from sync.checking.mirror import pieces_of
from sync.checking.values import Difference, Json, Kind
from sync.models import Blob, Body, Folder, FolderMessage, Message, Part, Thread

#: Messages, or threads, a statement.
CHUNK = 2000

Row = dict[str, Any]


def check_derived(account_id: int) -> Iterator[Difference]:
    """Compare the columns of folders, messages and threads with the rows they follow from, and find lost rows."""
    folders = {row["id"]: row for row in _rows(_FOLDERS, account=account_id)}
    for row in folders.values():
        yield from _check_folder(row, folders)
    paths = {pk: row["path"] for pk, row in folders.items()}
    for row in _in_chunks(_MESSAGES, Message, account_id):
        yield from _check_message(row, paths)
    email = Account.objects.values_list("email", flat=True).get(pk=account_id).lower()
    sent = [pk for pk, row in folders.items() if row["role"] == "sent"]
    for row in _in_chunks(_THREADS, Thread, account_id, email=email, sent=sent):
        yield from _check_thread(row)
    for row in _rows(_STRAY_BLOBS, account=account_id):
        yield Difference(Kind.BLOB_EXTRA, None, bytes(row["sha256"]).hex(), None)


def _rows(statement: str, **values: Any) -> list[Row]:
    with connections[router.db_for_read(Message)].cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _in_chunks(statement: str, model: Any, account_id: int, **values: Any) -> Iterator[Row]:
    ids = array("q", model.objects.filter(account_id=account_id).values_list("pk", flat=True))
    ids = array("q", sorted(ids))
    for at in range(0, len(ids), CHUNK):
        yield from _rows(statement, account=account_id, ids=ids[at : at + CHUNK].tolist(), **values)


def _differing(mirror: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[dict[str, Json], dict[str, Json]] | None:
    names = [name for name in wanted if mirror[name] != wanted[name]]
    if not names:
        return None
    return {name: _json(mirror[name]) for name in names}, {name: _json(wanted[name]) for name in names}


def _json(value: Any) -> Json:
    return value.isoformat() if isinstance(value, datetime) else value


# Folders

_FOLDERS = f"""
SELECT f.id, f.path, f.name, f.delimiter, f.parent_id, f.role, f.total_count, f.unread_count, f.child_count,
       c.total, c.unread, (SELECT count(*) FROM {Folder._meta.db_table} child WHERE child.parent_id = f.id) AS children
FROM {Folder._meta.db_table} f, LATERAL (
    SELECT count(*) AS total,
           count(*) FILTER (WHERE NOT EXISTS (
               SELECT FROM unnest(copy.flags) AS flag WHERE lower(flag) = '\\seen')) AS unread
    FROM {FolderMessage._meta.db_table} copy WHERE copy.folder_id = f.id
) c
WHERE f.account_id = %(account)s
ORDER BY f.path
"""


def _check_folder(row: Row, folders: Mapping[int, Row]) -> Iterator[Difference]:
    counts = {"total_count": row["total"], "unread_count": row["unread"], "child_count": row["children"]}
    found = _differing(row, counts)
    if found:
        yield Difference(Kind.COUNT_DIFFERS, row["path"], *found, object_type="folder", object_id=row["id"])
    by_path = {one["path"]: one["id"] for one in folders.values()}
    above, divided, name = row["path"].rpartition(row["delimiter"] or "\0")
    found = _differing(row, {"name": name, "parent_id": by_path.get(above) if divided else None})
    if found:
        yield Difference(Kind.DERIVED_DIFFERS, row["path"], *found, object_type="folder", object_id=row["id"])


# Messages

_MESSAGES = f"""
SELECT m.id, m.unread, m.starred, m.is_draft, m.copies, m.flags, m.folder_ids, m.date, m.has_attachments,
       m.held_by, m.size, c.*, p.*,
       (SELECT count(*) FROM {Blob._meta.db_table} b
        WHERE b.account_id = m.account_id AND b.sha256 = m.sha256) AS pieces,
       EXISTS (SELECT FROM {Body._meta.db_table} body WHERE body.message_id = m.id) AS has_body
FROM {Message._meta.db_table} m, LATERAL (
    SELECT count(*) AS places, array_agg(DISTINCT copy.folder_id) AS folders, min(copy.internal_date) AS oldest,
           coalesce(bool_and(copy.date = m.date), true) AS dated, coalesce(bool_or(f.role = 'drafts'), false) AS drafts,
           (SELECT array_agg(DISTINCT flag) FROM {FolderMessage._meta.db_table} one, unnest(one.flags) AS flag
            WHERE one.message_id = m.id) AS all_flags
    FROM {FolderMessage._meta.db_table} copy JOIN {Folder._meta.db_table} f ON f.id = copy.folder_id
    WHERE copy.message_id = m.id
) c, LATERAL (
    SELECT coalesce(bool_or(NOT part.is_inline), false) AS attached
    FROM {Part._meta.db_table} part WHERE part.message_id = m.id
) p
WHERE m.id = ANY(%(ids)s) AND m.account_id = %(account)s
"""


def _check_message(row: Row, paths: Mapping[int, str]) -> Iterator[Difference]:
    folder = next((paths[pk] for pk in row["folders"] or row["folder_ids"] if pk in paths), None)

    def difference(kind: Kind, mirror: Json, wanted: Json) -> Difference:
        return Difference(kind, folder, mirror, wanted, message_id=row["id"])

    found = _differing(*_message_columns(row))
    if found:
        yield difference(Kind.DERIVED_DIFFERS, *found)
    if not row["has_body"]:
        yield difference(Kind.BODY_MISSING, None, "a body")
    if row["pieces"] != pieces_of(row["size"]):
        yield difference(Kind.BLOB_MISSING, {"pieces": row["pieces"]}, {"pieces": pieces_of(row["size"])})


def _message_columns(row: Row) -> tuple[Row, Row]:
    """What a message says of itself, and what follows from its copies and parts."""
    ours = row | {"flags": sorted(row["flags"]), "folder_ids": sorted(row["folder_ids"])}
    wanted: Row = {"has_attachments": row["attached"]}
    if row["places"]:
        flags = sorted(row["all_flags"] or [])
        folded = {flag.lower() for flag in flags}
        wanted |= {
            "copies": row["places"],
            "folder_ids": sorted(row["folders"]),
            "flags": flags,
            "unread": "\\seen" not in folded,
            "starred": "\\flagged" in folded,
            "is_draft": "\\draft" in folded or row["drafts"],
            "date": row["oldest"] or row["date"],
            "dated": True,
        }
    elif row["held_by"] is None:
        # one that is held is shown as it was
        wanted["copies"] = 0
        ours["copies"] = "shown without a copy"
    return ours, wanted


# Threads

_THREADS = f"""
SELECT t.*, s.*, coalesce(p.places, '{{}}') AS places
FROM {Thread._meta.db_table} t, LATERAL (
    SELECT count(*) AS messages, count(*) FILTER (WHERE m.is_draft) > 0 AS drafts,
        (array_agg(m.subject ORDER BY m.is_draft, m.date, m.id))[1] AS first_subject,
        max(m.date) FILTER (WHERE m.is_draft) AS newest_draft,
        max(m.date) FILTER (WHERE NOT m.is_draft) AS newest, min(m.date) FILTER (WHERE NOT m.is_draft) AS oldest,
        max(m.date) FILTER (WHERE NOT m.is_draft AND NOT ours.sent) AS received,
        max(m.date) FILTER (WHERE NOT m.is_draft AND ours.sent) AS sent,
        count(*) FILTER (WHERE NOT m.is_draft AND m.unread) > 0 AS any_unread,
        count(*) FILTER (WHERE NOT m.is_draft AND m.starred) > 0 AS any_starred,
        count(*) FILTER (WHERE NOT m.is_draft AND m.has_attachments) > 0 AS any_attached
    FROM {Message._meta.db_table} m, LATERAL (
        SELECT m.folder_ids && %(sent)s::bigint[] OR coalesce(lower(m.from_addresses -> 0 ->> 'email'), '') = %(email)s
            AS sent) ours
    WHERE m.thread_id = t.id
) s, LATERAL (
    SELECT array_agg(DISTINCT folder) AS places
    FROM {Message._meta.db_table} m, unnest(m.folder_ids) AS folder WHERE m.thread_id = t.id
) p
WHERE t.id = ANY(%(ids)s) AND t.account_id = %(account)s
"""


def _check_thread(row: Row) -> Iterator[Difference]:
    if not row["messages"]:
        found: tuple[Json, Json] | None = ("a thread without messages", None)
    else:
        wanted = {
            "subject": row["first_subject"],
            "latest_date": row["newest"] or row["newest_draft"],
            "earliest_message_date": row["oldest"],
            "latest_message_received_date": row["received"],
            "latest_message_sent_date": row["sent"],
            "unread": row["any_unread"],
            "starred": row["any_starred"],
            "has_attachments": row["any_attached"],
            "has_drafts": row["drafts"],
            "folder_ids": sorted(row["places"]),
        }
        found = _differing(row | {"folder_ids": sorted(row["folder_ids"])}, wanted)
    if found:
        yield Difference(Kind.DERIVED_DIFFERS, None, *found, object_type="thread", object_id=row["id"])


# Blobs

_STRAY_BLOBS = f"""
SELECT DISTINCT b.sha256 FROM {Blob._meta.db_table} b
WHERE b.account_id = %(account)s AND NOT EXISTS (
    SELECT FROM {Message._meta.db_table} m WHERE m.account_id = b.account_id AND m.sha256 = b.sha256)
LIMIT 10000
"""
