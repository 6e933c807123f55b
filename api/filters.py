"""Filters of lists as queries that an index answers, newest first.

A list of a folder walks the copies of that folder; what few messages have (unread, starred, a thread) walks those.
What a mail says (`api.conditions`) no index knows: it is looked for on the way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from django.db.models import Exists, Func, Model, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.expressions import F, RawSQL
from django.db.models.lookups import LessThan

from api.conditions import ANY_CONTENT, CONTENT_FILTERS, THREAD_CONTENT_FILTERS, Content
from api.cursors import Position
from api.errors import BadRequest
from api.parameters import Parameters
from sync.models import FolderMessage, Message, Thread

Rows = TypeVar("Rows", bound=Model)

#: Folders that one `in` may name.
MAX_FOLDERS = 50

_BOTH = frozenset({"in", "not_in", "unread", "starred", "has_attachment", "thread_id"})
MESSAGE_FILTERS = _BOTH | {"received_after", "received_before"} | CONTENT_FILTERS
THREAD_FILTERS = _BOTH | {"latest_message_after", "latest_message_before"} | THREAD_CONTENT_FILTERS
#: Filters of the v3 format that are not served: ignoring one would answer with mail that nobody asked for.
_REFUSED = frozenset(
    {
        "search_query_native", "query_imap", "metadata_pair", "q", "earliest_message_date", "updated_after", "list_id",
        "header",
    }
)  # fmt: skip


def refuse_unserved(parameters: Parameters, served: frozenset[str]) -> None:
    """Raise BadRequest naming a filter that is known but not served, here or anywhere."""
    for name in sorted(parameters.named(_REFUSED | (CONTENT_FILTERS - served))):
        raise BadRequest(f"{name}: this filter is not served")


@dataclass(frozen=True, slots=True)
class MailFilters:
    """What a list of messages, drafts or threads is narrowed to; None: not narrowed."""

    #: Ids of folders, any of them; empty: all.
    folders: tuple[int, ...] = ()
    #: Ids of folders, none of them.
    not_folders: tuple[int, ...] = ()
    unread: bool | None = None
    starred: bool | None = None
    has_attachments: bool | None = None
    thread_id: int | None = None
    #: Both excluded.
    after: datetime | None = None
    before: datetime | None = None
    content: Content = ANY_CONTENT

    @classmethod
    def of(cls, parameters: Parameters, *, served: frozenset[str], after: str, before: str) -> MailFilters:
        """Read the filters; `after` and `before` name the parameters that bound the date. Raises BadRequest."""
        refuse_unserved(parameters, served)
        return cls(
            folders=tuple(parameters.object_ids("in", most=MAX_FOLDERS)),
            not_folders=tuple(parameters.object_ids("not_in", most=MAX_FOLDERS)),
            unread=parameters.boolean("unread"),
            starred=parameters.boolean("starred"),
            has_attachments=parameters.boolean("has_attachment"),
            thread_id=parameters.object_id("thread_id"),
            after=parameters.moment(after),
            before=parameters.moment(before),
            content=Content.of(parameters),
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

    def places(self, prefix: str = "") -> Q:
        """The conditions on folders, for rows that hold their folders."""
        condition = Q(**{f"{prefix}folder_ids__overlap": list(self.folders)}) if self.folders else Q()
        if self.not_folders:
            condition &= ~Q(**{f"{prefix}folder_ids__overlap": list(self.not_folders)})
        return condition


def find_messages(
    account_id: int, filters: MailFilters, *, drafts: bool, after: Position | None, limit: int
) -> list[Message]:
    """Return at most `limit` messages, or drafts, behind a position, newest first."""
    mine = Message.objects.filter(account_id=account_id, is_draft=drafts)
    few = drafts or filters.unread or filters.starred or filters.thread_id is not None or filters.content
    if filters.folders and not few:
        newest = _newest_in_folders(account_id, filters, after, limit)
        return list(mine.filter(pk__in=newest).order_by("-date", "-pk"))
    rows = mine.filter(filters.flags(), filters.dates("date"), filters.places(), filters.content.of_message())
    if filters.thread_id is not None:
        rows = rows.filter(thread_id=filters.thread_id)
    return list(_behind(rows, after, "date", "pk").order_by("-date", "-pk")[:limit])


def _newest_in_folders(account_id: int, filters: MailFilters, after: Position | None, limit: int) -> RawSQL:
    """Return the ids of the newest messages of some folders: each folder's index is walked only as far as needed.

    A part of the statement that reads the messages: read apart, one that is deleted in between would end the list.
    """
    condition = filters.flags("message__") & Q(message__is_draft=False) & filters.dates("date")
    unwanted = replace(filters, folders=()).places("message__")
    each = [
        _behind(FolderMessage.objects.filter(condition, unwanted, folder_id=folder), after, "date", "message_id")
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
    sql, parameters = together.query.sql_with_params()
    return RawSQL(f"SELECT newest.id FROM ({sql}) AS newest", parameters)  # noqa: S611 -- Django's own SQL


def find_threads(account_id: int, filters: MailFilters, *, after: Position | None, limit: int) -> list[Thread]:
    """Return at most `limit` threads behind a position, newest first."""
    rows = Thread.objects.filter(filters.flags(), filters.dates("latest_date"), filters.places(), account_id=account_id)
    if filters.thread_id is not None:
        rows = rows.filter(pk=filters.thread_id)
    if filters.content:
        rows = rows.filter(filters.content.of_subject())
    for one in filters.content.each_address():
        # a thread has whom any of its messages has
        rows = rows.filter(Exists(Message.objects.filter(one.of_message(), thread_id=OuterRef("pk"))))
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
