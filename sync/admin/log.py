"""The transaction log of one account, newest first, each change with a link to what it changed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.changelog.words import Kind, ObjectType
from accounts.models import Notice, Transaction, TransactionHead
from sync.admin.opened import Opened
from sync.models import Folder, Message, Thread

PAGE = 50
#: Transactions that one page with a filter looks through: rare ones are found by going on.
WINDOW = 20_000

_NAMED: dict[ObjectType, tuple[type[Model], str]] = {
    ObjectType.MESSAGE: (Message, "subject"),
    ObjectType.DRAFT: (Message, "subject"),
    ObjectType.THREAD: (Thread, "subject"),
    ObjectType.FOLDER: (Folder, "path"),
    ObjectType.NOTICE: (Notice, "name"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the log as it is shown."""

    row: Transaction
    type: str
    kind: str
    #: What it is called now; empty: it is gone, or has no name.
    name: str
    #: Where it is shown; None: nowhere.
    url: str | None


def page(request: HttpRequest, opened: Opened) -> HttpResponseBase:
    """Show a page of the log: `type`, `kind` narrow it, `before` is the seq it goes on from."""
    head = TransactionHead.objects.filter(pk=opened.id).first() or TransactionHead(account_id=opened.id)
    chosen_type = _number(request.GET.get("type"), ObjectType.values)
    chosen_kind = _number(request.GET.get("kind"), Kind.values)
    before = _number(request.GET.get("before")) or head.last_seq + 1
    lowest = max(before - WINDOW, head.pruned_seq + 1)
    rows = Transaction.objects.filter(account_id=opened.id, seq__lt=before, seq__gte=lowest)
    rows = _narrowed(rows, chosen_type, chosen_kind)
    found = list(rows.order_by("-seq")[: PAGE + 1])
    filters = {"type": chosen_type or "", "kind": chosen_kind or ""}
    further = found[PAGE - 1].seq if len(found) > PAGE else lowest if lowest > head.pruned_seq + 1 else None
    return opened.page(
        request,
        "log",
        title=f"Transaction log of {opened.grant.email}",
        entries=_entries(opened, found[:PAGE], subjects=request.user.has_perm("sync.view_message")),
        head=head,
        types=[(one.value, one.label, one.value == chosen_type) for one in ObjectType],
        kinds=[(one.value, one.label, one.value == chosen_kind) for one in Kind],
        narrowed=bool(chosen_type or chosen_kind),
        newest=f"?{urlencode(filters)}" if request.GET.get("before") else None,
        older=None if further is None else f"?{urlencode({**filters, 'before': further})}",
        lowest=lowest,
    )


def _number(text: str | None, allowed: Iterable[int] | None = None) -> int | None:
    """Read a number of the address; None: none, or none that makes sense."""
    if text is None or not text.isdecimal() or len(text) > 18:
        return None
    number = int(text)
    return number if allowed is None or number in allowed else None


def _narrowed(rows: QuerySet[Transaction], object_type: int | None, kind: int | None) -> QuerySet[Transaction]:
    wanted = {"object_type": object_type, "kind": kind}
    return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def _entries(opened: Opened, rows: list[Transaction], *, subjects: bool) -> list[Entry]:
    """Join the rows with what their objects are called, one query a type; `subjects`: whether mail's may be shown."""
    ids: dict[ObjectType, set[int]] = {}
    for row in rows:
        ids.setdefault(ObjectType(row.object_type), set()).add(row.object_id)
    names: dict[tuple[int, int], str] = {}
    for object_type, wanted in ids.items():
        if object_type not in _NAMED:
            continue
        model, column = _NAMED[object_type]
        mine: Any = model._default_manager.filter(account_id=opened.id, pk__in=wanted)
        names |= {(object_type, pk): name for pk, name in mine.values_list("pk", column)}
    return [_entry(opened, row, names.get((row.object_type, row.object_id)), subjects=subjects) for row in rows]


def _entry(opened: Opened, row: Transaction, name: str | None, *, subjects: bool) -> Entry:
    object_type = ObjectType(row.object_type)
    of_mail = object_type in (ObjectType.MESSAGE, ObjectType.DRAFT, ObjectType.THREAD)
    shown = "" if name is None or (of_mail and not subjects) else name or "(no subject)"
    exists = name is not None or object_type == ObjectType.GRANT
    return Entry(
        row=row,
        type=str(object_type.label),
        kind=str(Kind(row.kind).label),
        name=shown,
        url=_url(opened, object_type, row.object_id) if exists else None,
    )


def _url(opened: Opened, object_type: ObjectType, object_id: int) -> str | None:
    if object_type in (ObjectType.MESSAGE, ObjectType.DRAFT):
        return opened.url("sync_message", object_id)
    if object_type in (ObjectType.THREAD, ObjectType.FOLDER):
        return f"{opened.url('sync_messages')}?{object_type.label}={object_id}"
    return opened.url("sync_account") if object_type == ObjectType.GRANT else None
