"""New mail into rows: raw bytes -> frames and parsed columns (outside), then one transaction a batch (inside)."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from django.utils import timezone

from accounts.changelog.logged import bulk_insert
from sync import blobs
from sync.conversations import find_thread_ids
from sync.mime import Address, ParsedMessage, parse_message
from sync.models import Body, FolderMessage, Message, Part, RememberedMessage
from sync.plan import CopyFacts, message_state
from sync.providers.base import RemoteMessage
from sync.services.copies import count_copies, drafts_folders, is_unseen, refresh_messages
from sync.services.leases import Lease
from sync.services.threads import assign_threads, refresh_threads


@dataclass
class Arrival:
    """A message on its way in: fetched whole (`frames`), or recognised as a copy of one we have (`message_id`)."""

    remote_id: str
    flags: frozenset[str]
    internal_date: datetime | None
    frames: blobs.Frames | None = None
    message_id: int | None = None
    #: Of a fetched one: its bytes, or where they lie.
    source: RemoteMessage | None = None

    @cached_property
    def parsed(self) -> ParsedMessage:
        """Parse once, when first asked for: a copy of known mail is never parsed again."""
        assert self.source is not None
        if self.source.spool is None:
            return parse_message(self.source.raw or b"")
        with self.source.spool.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            return parse_message(raw)

    def discard(self) -> None:
        """Remove what lies in temporary files."""
        if self.source is not None and self.source.spool is not None:
            self.source.spool.unlink(missing_ok=True)
        if self.frames is not None and self.frames.spool is not None:
            self.frames.spool.close()


def arrive(message: RemoteMessage) -> Arrival:
    """Hash and compress a fetched message: all that is costly and needs no database."""
    if message.spool is not None:
        frames = blobs.compress_file(message.spool)
    else:
        frames = blobs.compress(message.raw or b"")
    return Arrival(message.remote_id, message.flags, message.internal_date, frames=frames, source=message)


def parse_unknown(account_id: int, arrivals: Sequence[Arrival]) -> None:
    """Parse, before the lock is taken, those that no message of the account equals."""
    hashes = [one.frames.sha256 for one in arrivals if one.frames is not None]
    known = _known(account_id, hashes)
    for one in arrivals:
        if one.frames is not None and one.frames.sha256 not in known:
            _ = one.parsed


def _known(account_id: int, hashes: Sequence[bytes]) -> dict[bytes, int]:
    rows = Message.objects.filter(account_id=account_id, sha256__in=hashes).values_list("sha256", "pk")
    return {bytes(sha256): pk for sha256, pk in rows}


def store_arrivals(lease: Lease, arrivals: Sequence[Arrival]) -> int:
    """Write arrivals into the lease's folder; return how many messages are new to the account.

    Call inside `lock_account`, the lease confirmed. One message per distinct raw mail: a mail already known becomes one
    more copy.
    """
    account_id, folder_id = lease.account_id, lease.folder
    known = _known(account_id, [one.frames.sha256 for one in arrivals if one.frames is not None])
    fresh: dict[bytes, list[Arrival]] = {}
    copies: list[tuple[Arrival, int]] = []
    for one in arrivals:
        if one.frames is None:
            assert one.message_id is not None
            copies.append((one, one.message_id))
        elif one.frames.sha256 in known:
            copies.append((one, known[one.frames.sha256]))
        else:
            fresh.setdefault(one.frames.sha256, []).append(one)
    touched = {message_id for _, message_id in copies}
    ids = _store_messages(account_id, folder_id, list(fresh.values()))
    for message_id, same in zip(ids, fresh.values(), strict=True):
        copies += [(one, message_id) for one in same]
    _store_copies(account_id, folder_id, copies)
    refresh_messages(account_id, touched)
    return len(ids)


def _store_copies(account_id: int, folder_id: int, copies: Sequence[tuple[Arrival, int]]) -> None:
    dates = dict(Message.objects.filter(pk__in={pk for _, pk in copies}).values_list("pk", "date"))
    rows = [
        {
            "account_id": account_id,
            "folder_id": folder_id,
            "message_id": message_id,
            "remote_id": one.remote_id,
            "flags": sorted(one.flags),
            "internal_date": one.internal_date,
            "date": dates[message_id],
        }
        for one, message_id in copies
    ]
    bulk_insert(FolderMessage, rows)
    unread = sum(is_unseen(one.flags) for one, _ in copies)
    count_copies(folder_id, total=len(rows), unread=unread)


def _store_messages(account_id: int, folder_id: int, groups: list[list[Arrival]]) -> list[int]:
    """Insert one message a group of identical mails, with all that belongs to it; return their ids in order."""
    if not groups:
        return []
    firsts = [group[0] for group in groups]
    in_drafts = folder_id in drafts_folders(account_id)
    now = timezone.now()
    rows = []
    for group in groups:
        facts = [CopyFacts(folder_id, sorted(one.flags), one.internal_date, in_drafts) for one in group]
        rows.append({"account_id": account_id, **_columns(group[0], facts, now)})
    threads, known = assign_threads(account_id, [find_thread_ids(one.parsed) for one in firsts], rows)
    ids = _insert(account_id, [{"thread_id": thread_id, **row} for thread_id, row in zip(threads, rows, strict=True)])
    blobs.store_frames(account_id, [one.frames for one in firsts if one.frames is not None])
    bulk_insert(Body, [_body(account_id, pk, one.parsed) for pk, one in zip(ids, firsts, strict=True)])
    parts = [row for pk, one in zip(ids, firsts, strict=True) for row in _parts(account_id, pk, one.parsed)]
    if parts:
        bulk_insert(Part, parts)
    refresh_threads(account_id, known)
    return ids


def _insert(account_id: int, rows: list[dict[str, Any]]) -> list[int]:
    """Insert messages; one that went away within a day gets its old id back."""
    hashes = [row["sha256"] for row in rows]
    remembered = RememberedMessage.objects.filter(account_id=account_id, sha256__in=hashes)
    old = {bytes(sha256): pk for sha256, pk in remembered.values_list("sha256", "message_id")}
    if not old:
        return Message.objects.bulk_insert(rows)
    remembered.delete()
    known = [{"id": old[row["sha256"]], **row} for row in rows if row["sha256"] in old]
    new = [row for row in rows if row["sha256"] not in old]
    ids = dict(zip([row["sha256"] for row in known], Message.objects.bulk_insert(known), strict=True))
    if new:
        ids |= zip([row["sha256"] for row in new], Message.objects.bulk_insert(new), strict=True)
    return [ids[sha256] for sha256 in hashes]


def _columns(one: Arrival, facts: list[CopyFacts], now: datetime) -> dict[str, Any]:
    assert one.frames is not None
    parsed, state = one.parsed, message_state(facts)
    return {
        "sha256": one.frames.sha256,
        "size": one.frames.size,
        "message_id_header": parsed.message_id or "",
        "in_reply_to": parsed.in_reply_to[0] if parsed.in_reply_to else "",
        "subject": parsed.subject,
        "from_addresses": _wire(parsed.from_),
        "to_addresses": _wire(parsed.to),
        "cc_addresses": _wire(parsed.cc),
        "bcc_addresses": _wire(parsed.bcc),
        "reply_to_addresses": _wire(parsed.reply_to),
        "date": state.date or clamp(parsed.date, now),
        "header_date": parsed.date,
        "snippet": parsed.snippet,
        "unread": state.unread,
        "starred": state.starred,
        "flags": state.flags,
        "folder_ids": state.folder_ids,
        "copies": state.copies,
        "is_draft": state.is_draft,
        "has_attachments": any(not part.is_inline for part in parsed.attachments),
        "defects": list(parsed.defects),
        "held_by": None,
        "created_at": now,
        "updated_at": now,
    }


def clamp(date: datetime | None, now: datetime) -> datetime:
    """A Date header as a message's date, where the server gives none: within 1970 .. now + 1 day (api.md 12.3)."""
    latest = now + timedelta(days=1)
    return now if date is None else min(max(date, datetime.fromtimestamp(0, UTC)), latest)


def _wire(addresses: Sequence[Address]) -> list[dict[str, str]]:
    return [{"name": one.name, "email": one.email} for one in addresses]


def _body(account_id: int, message_id: int, parsed: ParsedMessage) -> dict[str, Any]:
    packed = blobs.pack_body(parsed.text, parsed.html)
    return {"message_id": message_id, "account_id": account_id, **packed._asdict()}


def _parts(account_id: int, message_id: int, parsed: ParsedMessage) -> list[dict[str, Any]]:
    return [
        {
            "account_id": account_id,
            "message_id": message_id,
            "position": part.position,
            "content_type": part.content_type,
            "filename": part.filename or "",
            "content_id": part.content_id or "",
            "disposition": part.disposition or "",
            "is_inline": part.is_inline,
            "encoding": part.encoding,
            "charset": part.charset or "",
            "offset": part.offset,
            "length": part.length,
            "size": part.size,
        }
        for part in parsed.attachments
    ]
