"""Public columns of messages, threads and folders that follow from their copies.

Whoever changes copies calls these within the same `lock_account`: only columns that differ are written and logged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import F
from django.utils import timezone

from sync.models import Folder, FolderMessage, Message
from sync.plan import CopyFacts, MessageState, message_state
from sync.services.schedule import raise_request
from sync.services.threads import refresh_threads

#: The columns of Message that its copies decide.
STATE_COLUMNS = ("folder_ids", "flags", "unread", "starred", "copies", "is_draft", "date")


def drafts_folders(account_id: int) -> frozenset[int]:
    """The folders whose mails are drafts, whatever their flags."""
    return frozenset(Folder.objects.filter(account_id=account_id, role="drafts").values_list("id", flat=True))


def refresh_messages(account_id: int, message_ids: Iterable[int]) -> None:
    """Recompute what the copies of these messages decide; log those that differ, and their threads.

    A message without copies is held: a move is a loss here and an arrival there, in either order. The API still shows
    it, until a pass that began after the loss shows no arrival (`holding.settle`).
    """
    ids = sorted(set(message_ids))
    if not ids:
        return
    facts = copy_facts(account_id, ids)
    messages = {one.pk: one for one in Message.objects.filter(pk__in=ids).defer("subject", "snippet")}
    lost = [pk for pk, one in messages.items() if pk not in facts and one.held_by is None]
    if lost:
        Message.objects.filter(pk__in=lost).update(held_by=raise_request(account_id))
    found = [pk for pk, one in messages.items() if pk in facts and one.held_by is not None]
    if found:
        Message.objects.filter(pk__in=found).update(held_by=None)
    _write_states(account_id, {pk: message_state(copies) for pk, copies in facts.items()}, messages)


def copy_facts(account_id: int, message_ids: list[int]) -> dict[int, list[CopyFacts]]:
    """The copies of messages, as far as their public columns depend on them; a message without copies is left out."""
    drafts = drafts_folders(account_id)
    facts: dict[int, list[CopyFacts]] = defaultdict(list)
    rows = FolderMessage.objects.filter(message_id__in=message_ids)
    for message_id, folder_id, flags, date in rows.values_list("message_id", "folder_id", "flags", "internal_date"):
        facts[message_id].append(CopyFacts(folder_id, flags, date, folder_id in drafts))
    return facts


def _write_states(account_id: int, states: dict[int, MessageState], messages: dict[int, Message]) -> None:
    now = timezone.now()
    changed: list[Message] = []
    moved: dict[int, datetime] = {}
    for pk, state in states.items():
        message = messages[pk]
        wanted: dict[str, Any] = {name: getattr(state, name) for name in STATE_COLUMNS}
        wanted["date"] = state.date or message.date
        if all(getattr(message, name) == value for name, value in wanted.items()):
            continue
        if message.date != wanted["date"]:
            moved[pk] = wanted["date"]
        for name, value in wanted.items():
            setattr(message, name, value)
        message.updated_at = now
        changed.append(message)
    if not changed:
        return
    Message.objects.bulk_update(changed, [*STATE_COLUMNS, "updated_at"], batch_size=500)
    for pk, date in moved.items():
        FolderMessage.objects.filter(message_id=pk).update(date=date)
    refresh_threads(account_id, {message.thread_id for message in changed})


def count_copies(folder_id: int, *, total: int, unread: int) -> None:
    """Add to a folder's counts what a commit changed; one `updated` a commit, none where nothing changed."""
    if total or unread:
        counts = {"total_count": F("total_count") + total, "unread_count": F("unread_count") + unread}
        Folder.objects.filter(pk=folder_id).update(**counts)


def is_unseen(flags: Iterable[str]) -> bool:
    """Whether a copy with these flags counts as unread."""
    return all(flag.lower() != "\\seen" for flag in flags)
