"""Wire objects with all that belongs to them, loaded in a fixed number of queries whatever the page.

Call inside `on_shard` of the account.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from accounts.models import Account, Notice
from api import wire
from api.wire import Wire
from sync import blobs
from sync.mime import html_to_text, parse_headers
from sync.models import Folder, Message, Part, Thread
from sync.services.progress import sync_states

#: What `fields=include_basic_headers` shows.
BASIC_HEADERS = frozenset({"message-id", "in-reply-to", "references"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What of each message is asked for."""

    #: Top-level fields; None: all.
    selected: frozenset[str] | None = None
    #: Add `headers`: all of them, or BASIC_HEADERS.
    headers: bool = False
    basic_headers: bool = False
    #: Add `body_text`: the mail's own text, else text made from its HTML.
    body_text: bool = False

    def wants(self, field: str) -> bool:
        """Whether a field is to be shown."""
        return self.selected is None or field in self.selected

    def cut(self, one: Wire) -> Wire:
        """Return the selected fields of an object."""
        if self.selected is None:
            return one
        return {name: value for name, value in one.items() if name in self.selected}


WHOLE = Shape()


def show_messages(messages: Sequence[Message], shape: Shape = WHOLE) -> list[Wire]:
    """Return messages and drafts of one account on the wire, in the order given."""
    if not messages:
        return []
    ids = [one.pk for one in messages]
    bodies = blobs.read_bodies(ids) if shape.wants("body") or shape.wants("body_pending") or shape.body_text else {}
    attachments = _attachments(ids) if shape.wants("attachments") else {}
    headers = _headers(messages, shape) if shape.headers and shape.wants("headers") else {}
    shown = []
    for message in messages:
        text, html = bodies.get(message.pk, (None, None))
        body = None if message.pk not in bodies else (text or "") if html is None else html
        one = wire.message_wire(message, body=body, attachments=attachments.get(message.pk, ()))
        if shape.headers:
            one["headers"] = headers.get(bytes(message.sha256), [])
        if shape.body_text:
            one["body_text"] = html_to_text(html or "") if text is None else text
        shown.append(shape.cut(one))
    return shown


def _attachments(ids: Collection[int]) -> dict[int, list[Part]]:
    found: dict[int, list[Part]] = defaultdict(list)
    for part in Part.objects.filter(message_id__in=ids).order_by("message_id", "position"):
        found[part.message_id].append(part)
    return found


def _headers(messages: Sequence[Message], shape: Shape) -> dict[bytes, list[dict[str, str]]]:
    hashes = [bytes(one.sha256) for one in messages]
    return {
        sha256: [
            {"name": name, "value": value}
            for name, value in parse_headers(head)
            if not shape.basic_headers or name.lower() in BASIC_HEADERS
        ]
        for sha256, head in blobs.first_pieces(messages[0].account_id, hashes)
    }


def show_threads(threads: Sequence[Thread], shape: Shape = WHOLE) -> list[Wire]:
    """Return threads of one account on the wire, in the order given; the newest message of each is whole."""
    messages: dict[int, list[Message]] = defaultdict(list)
    rows = Message.objects.filter(thread_id__in=[one.pk for one in threads]).order_by("date", "pk")
    for message in rows:
        messages[message.thread_id].append(message)
    latest: dict[int, Wire] = {}
    if shape.wants("latest_draft_or_message"):
        newest = [messages[one.pk][-1] for one in threads if messages[one.pk]]
        latest = {one.thread_id: shown for one, shown in zip(newest, show_messages(newest), strict=True)}
    return [shape.cut(wire.thread_wire(one, messages[one.pk], latest.get(one.pk))) for one in threads]


def show_grants(accounts: Sequence[Account]) -> list[Wire]:
    """Return grants of the shard at hand on the wire, in the order given."""
    states = sync_states([one.pk for one in accounts]) if accounts else {}
    return [wire.grant_wire(one, states.get(one.pk, "queued")) for one in accounts]


def objects_of_changes(account_id: int, named: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Wire]:
    """Return the objects that changes name by (type, id), as lists show them; what is gone is left out."""
    ids: dict[str, list[int]] = defaultdict(list)
    for object_type, object_id in named:
        ids[object_type].append(object_id)
    return {
        (object_type, object_id): one
        for object_type, wanted in ids.items()
        if object_type in _SHOWN
        for object_id, one in _SHOWN[object_type](account_id, wanted)
    }


Shown = Iterable[tuple[int, Wire]]


def _messages(account_id: int, ids: list[int], *, drafts: bool = False) -> Shown:
    rows = Message.objects.filter(account_id=account_id, pk__in=ids, is_draft=drafts)
    return _by_id(show_messages(list(rows)))


def _drafts(account_id: int, ids: list[int]) -> Shown:
    return _messages(account_id, ids, drafts=True)


def _threads(account_id: int, ids: list[int]) -> Shown:
    return _by_id(show_threads(list(Thread.objects.filter(account_id=account_id, pk__in=ids))))


def _folders(account_id: int, ids: list[int]) -> Shown:
    return _by_id(wire.folder_wire(one) for one in Folder.objects.filter(account_id=account_id, pk__in=ids))


def _grants(account_id: int, ids: list[int]) -> Shown:
    return _by_id(show_grants(list(Account.objects.filter(pk__in=ids).filter(pk=account_id))))


def _notices(account_id: int, ids: list[int]) -> Shown:
    rows = Notice.objects.filter(account_id=account_id, pk__in=ids)
    return [(one.pk, wire.notice_wire(one)) for one in rows]


def _by_id(shown: Iterable[Wire]) -> Shown:
    return [(int(one["id"]), one) for one in shown]


_SHOWN: dict[str, Callable[[int, list[int]], Shown]] = {
    "message": _messages,
    "draft": _drafts,
    "thread": _threads,
    "folder": _folders,
    "grant": _grants,
    "notice": _notices,
}
