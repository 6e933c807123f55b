"""Filters of lists as queries that an index answers, newest first.

A list of a folder walks the copies of that folder; what few messages have (unread, starred, a thread) walks those.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db.models import Func, Model, Q, QuerySet, TextField, Value
from django.db.models.expressions import F
from django.db.models.lookups import LessThan

from api.cursors import Position
from api.errors import BadRequest
from api.parameters import Parameters
from sync.models import FolderMessage, Message, Thread

Rows = TypeVar("Rows", bound=Model)

#: Folders that one `in` may name.
MAX_FOLDERS = 50

MESSAGE_FILTERS = frozenset(
    {"in", "unread", "starred", "has_attachment", "thread_id", "received_after", "received_before"}
)
THREAD_FILTERS = frozenset(
    {"in", "unread", "starred", "has_attachment", "thread_id", "latest_message_after", "latest_message_before"}
)
#: Filters of the v3 format that are not served: ignoring one would answer with mail that nobody asked for.
_REFUSED = frozenset(
    {
        "subject", "any_email", "from", "to", "cc", "bcc", "search_query_native", "metadata_pair", "q", "query_imap",
        "earliest_message_date", "size_min", "size_max", "updated_after", "not_in", "list_id", "header",
    }
)  # fmt: skip


def refuse_unserved(parameters: Parameters) -> None:
    """Raise BadRequest naming a filter that is known but not served."""
    for name in sorted(parameters.named(_REFUSED)):
        raise BadRequest(f"{name}: this filter is not served")


@dataclass(frozen=True, slots=True)
class MailFilters:
    """What a list of messages, drafts or threads is narrowed to; None: not narrowed."""

    #: Ids of folders, any of them; empty: all.
    folders: tuple[int, ...] = ()
    unread: bool | None = None
    starred: bool | None = None
    has_attachments: bool | None = None
    thread_id: int | None = None
    #: Both excluded.
    after: datetime | None = None
    before: datetime | None = None

    @classmethod
    def of(cls, parameters: Parameters, *, after: str, before: str) -> MailFilters:
        """Read the filters; `after` and `before` name the parameters that bound the date. Raises BadRequest."""
        refuse_unserved(parameters)
        return cls(
            folders=tuple(parameters.object_ids("in", most=MAX_FOLDERS)),
            unread=parameters.boolean("unread"),
            starred=parameters.boolean("starred"),
            has_attachments=parameters.boolean("has_attachment"),
            thread_id=parameters.object_id("thread_id"),
            after=parameters.moment(after),
            before=parameters.moment(before),
        )

    def flags(self, prefix: str = "") -> Q:
        """The conditions on flags and attachments."""
        wanted = {"unread": self.unread, "starred": self.starred, "has_attachments": self.has_attachments}
        return Q(**{f"{prefix}{name}": value for name, value in wanted.items() if value is not None})

    def dates(self, column: str) -> Q:
        """The conditions on the date in `column`."""
        condition = Q()
        if self.after is not None:
            condition &= Q(**{f"{column}__gt": self.after})
        if self.before is not None:
            condition &= Q(**{f"{column}__lt": self.before})
        return condition

    def places(self) -> Q:
        """The condition on folders, for rows that hold their folders."""
        return Q(folder_ids__overlap=list(self.folders)) if self.folders else Q()


def find_messages(
    account_id: int, filters: MailFilters, *, drafts: bool, after: Position | None, limit: int
) -> list[Message]:
    """Return at most `limit` messages, or drafts, behind a position, newest first."""
    mine = Message.objects.filter(account_id=account_id, is_draft=drafts)
    few = drafts or filters.unread or filters.starred or filters.thread_id is not None
    if filters.folders and not few:
        ids = _ids_in_folders(account_id, filters, after, limit)
        return list(mine.filter(pk__in=ids).order_by("-date", "-pk"))
    rows = mine.filter(filters.flags(), filters.dates("date"), filters.places())
    if filters.thread_id is not None:
        rows = rows.filter(thread_id=filters.thread_id)
    return list(_behind(rows, after, "date", "pk").order_by("-date", "-pk")[:limit])


def _ids_in_folders(account_id: int, filters: MailFilters, after: Position | None, limit: int) -> list[int]:
    """Return the ids of the newest messages of some folders: each folder's index is walked only as far as needed."""
    condition = filters.flags("message__") & Q(message__is_draft=False) & filters.dates("date")
    each = [
        _behind(FolderMessage.objects.filter(condition, folder_id=folder), after, "date", "message_id")
        .order_by("-date", "-message_id")
        .values_list("date", "message_id")
        .distinct()[:limit]
        for folder in filters.folders
    ]
    lost = Message.objects.filter(
        filters.flags(), filters.dates("date"), filters.places(), account_id=account_id, is_draft=False
    )
    # held: without copies for the moment, but still shown where they were
    held = _behind(lost.filter(held_by__isnull=False), after, "date", "pk").values_list("date", "id")
    together = held.union(*each).order_by("-date", "-id")[:limit]
    return [pk for _, pk in together]


def find_threads(account_id: int, filters: MailFilters, *, after: Position | None, limit: int) -> list[Thread]:
    """Return at most `limit` threads behind a position, newest first."""
    rows = Thread.objects.filter(filters.flags(), filters.dates("latest_date"), filters.places(), account_id=account_id)
    if filters.thread_id is not None:
        rows = rows.filter(pk=filters.thread_id)
    return list(_behind(rows, after, "latest_date", "pk").order_by("-latest_date", "-pk")[:limit])


def _behind(rows: QuerySet[Rows], after: Position | None, date: str, key: str) -> QuerySet[Rows]:
    """Narrow a list, newest first, to what follows a position: one comparison of rows, which an index answers."""
    if after is None:
        return rows
    return rows.filter(LessThan(_Row(F(date), F(key)), _Row(Value(after.date), Value(after.id))))


class _Row(Func):
    """Columns compared as one row (PostgreSQL 9.24.5)."""

    template = "ROW(%(expressions)s)"
    output_field = TextField()
