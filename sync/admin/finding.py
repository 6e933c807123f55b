"""Lists and searches of messages, newest first, that cost the same in a mailbox of ten and of a million."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from sync.models import FolderMessage, Message

PAGE = 50
#: Messages that one page of a search looks through; it then offers to go on.
WINDOW = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two messages of a list: behind the one with this date and id."""

    date: datetime
    id: int

    def __str__(self) -> str:
        return f"{(self.date - _EPOCH) // _MICROSECOND}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Read what `str` wrote; None: it is no position."""
        microseconds, _, row_id = text.partition(".")
        try:
            return cls(_EPOCH + int(microseconds) * _MICROSECOND, int(row_id))
        except (ValueError, OverflowError):
            return None


@dataclass(frozen=True, slots=True)
class Found:
    """A page of messages."""

    messages: list[Message]
    #: Where the next page begins; None: this is the last.
    next: Position | None
    #: A search that looked through WINDOW messages and stopped there; None: it saw the rest of the list.
    searched_to: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """Which messages of an account: all, those of a folder, or those of a thread."""

    account_id: int
    folder_id: int | None = None
    thread_id: int | None = None

    def rows(self) -> tuple[QuerySet[Any], str]:
        """Return the rows that an index gives in the order of the list, and their column of the message's id."""
        if self.folder_id is not None:
            # the account's own: a folder of another one has no copies here
            return FolderMessage.objects.filter(account_id=self.account_id, folder_id=self.folder_id), "message_id"
        mine = Message.objects.filter(account_id=self.account_id)
        return (mine if self.thread_id is None else mine.filter(thread_id=self.thread_id)), "id"


def find_messages(place: Place, *, words: str = "", before: Position | None = None) -> Found:
    """Return a page of messages in a place, or of those whose subject or sender holds `words`."""
    rows, key = place.rows()
    if before is not None:
        rows = _bounded(rows, key, before, "lt")
    ordered = rows.order_by("-date", f"-{key}").values_list("date", key)
    if not words:
        # a message may have several copies in a folder; to let the database drop doubles would read the whole folder
        places = list(ordered[: 2 * (PAGE + 1)])
        found = _page(Message.objects.filter(pk__in={row_id for _, row_id in places}), None)
        full = len(places) == 2 * (PAGE + 1)
        return replace(found, next=Position(*places[-1])) if full and found.next is None else found
    end = [Position(date, row_id) for date, row_id in ordered[WINDOW - 1 : WINDOW]]
    searched = _bounded(rows, key, end[0], "gte") if end else rows
    # of copies the messages; messages themselves are narrowed as they are, which leaves the planner nothing to guess
    messages = searched if key == "id" else Message.objects.filter(pk__in=searched.values(key))
    matching = messages.annotate(sender=Cast("from_addresses", TextField()))
    wanted = Q(subject__icontains=words) | Q(sender__icontains=words)
    return _page(matching.filter(wanted, account_id=place.account_id), end[0] if end else None)


def _bounded(rows: QuerySet[Any], key: str, at: Position, side: str) -> QuerySet[Any]:
    """Narrow rows to one side of a position: `lt` behind it, `gte` before or at it."""
    strict, outer = f"{side[0]}t", f"{side[0]}te"
    # the first condition is what an index can use; the second cuts among rows of the same date
    return rows.filter(
        Q(**{f"date__{strict}": at.date}) | Q(**{f"{key}__{side}": at.id}), **{f"date__{outer}": at.date}
    )


def _page(messages: QuerySet[Message], end: Position | None) -> Found:
    """Cut a page; `end`: where the search stopped."""
    found = list(messages.order_by("-date", "-pk")[: PAGE + 1])
    if len(found) > PAGE:
        last = found[PAGE - 1]
        return Found(found[:PAGE], Position(last.date, last.pk), None)
    return Found(found, end, None if end is None else end.date)
