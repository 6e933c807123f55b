"""One folder, made equal to the server: ask, decide, fetch, parse, commit; a slice at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from accounts.changelog.recorder import lock_account
from project.postgres import give_back
from sync.models import AccountSync, Folder, FolderMessage, Message, SyncState
from sync.plan import FolderPlan, KnownCopy, plan_folder, recognise
from sync.providers.base import Fingerprint, FolderDelta, FolderStatus, MailSession, RemoteMessage
from sync.services.copies import count_copies, is_unseen, refresh_messages
from sync.services.ingest import Arrival, arrive, parse_unknown, store_arrivals
from sync.services.leases import Lease, confirm_lease
from sync.services.sessions import session

#: Seconds a slice works before it lets others have the worker.
SLICE = 5.0
#: New messages asked for in one command: few at first, so that the newest show up at once.
FIRST_FETCH = 20
FETCH = 100
#: Bytes of mail held in memory before they are committed.
BATCH_BYTES = 4 << 20
#: Messages described in one command, without their bodies.
DESCRIBE = 1000


@dataclass(frozen=True, slots=True)
class FolderReport:
    """What a slice did."""

    #: Messages and copies the folder got.
    arrived: int
    changed: int
    vanished: int
    #: More is known to be missing: call again at once.
    more: bool
    #: STATUS alone can tell that nothing changed.
    provable: bool

    @property
    def news(self) -> bool:
        """Whether anything differed."""
        return bool(self.arrived or self.changed or self.vanished)


def sync_folder(lease: Lease) -> FolderReport:
    """Compare one folder with the server and commit what differs, newest messages first.

    Raises any MailError, and LeaseLost. A slice ends after SLICE seconds with `more`.
    """
    until = time.monotonic() + SLICE
    folder = Folder.objects.select_related("sync_state").get(pk=lease.folder)
    state = folder.sync_state
    asked = AccountSync.objects.values_list("requested", flat=True).get(account_id=lease.account_id)
    began = timezone.now()
    with session(lease.account_id) as remote:
        delta = remote.changes(folder.ref, state.cursor, relist=not state.complete)
        if _suddenly_empty(state, delta):
            _commit_doubt(lease)
            return FolderReport(0, 0, 0, more=True, provable=False)
        if delta.reset or _is_doubtful(state):
            _reattach(lease, remote, folder, delta)
        plan = plan_folder(_held_copies(lease.folder, delta), delta)
        _commit_known(lease, plan, delta)
        arrived, withheld, left = _bring_in(lease, remote, folder, plan.new, until)
        more = left or delta.more
        provable = bool(delta.cursor) and remote.unchanged(delta.cursor, _as_status(delta.cursor))
    if not more:
        _commit_compared(lease, asked=asked, began=began, complete=not withheld)
    return FolderReport(arrived, len(plan.flags), len(plan.vanished), more=more, provable=provable and not withheld)


def _is_doubtful(state: SyncState) -> bool:
    """Copies without a cursor: the folder looked renamed, and may be another one under the same UIDVALIDITY."""
    return state.cursor is None and FolderMessage.objects.filter(folder_id=state.pk).exists()


def _suddenly_empty(state: SyncState, delta: FolderDelta) -> bool:
    """A folder that answers "empty" after being full is believed when it says so twice."""
    return delta.present == frozenset() and state.messages_known > 0 and not state.seemed_empty


def _commit_doubt(lease: Lease) -> None:
    with lock_account(lease.account_id):
        confirm_lease(lease)
        SyncState.objects.filter(folder_id=lease.folder).update(seemed_empty=True)


def _held_copies(folder_id: int, delta: FolderDelta) -> dict[str, frozenset[str]]:
    rows = FolderMessage.objects.filter(folder_id=folder_id)
    if delta.present is None:
        rows = rows.filter(remote_id__in=[*delta.seen, *delta.vanished])
    return {remote_id: frozenset(flags) for remote_id, flags in rows.values_list("remote_id", "flags")}


def _commit_known(lease: Lease, plan: FolderPlan, delta: FolderDelta) -> None:
    """Commit what concerns copies we have, and the cursor: new messages are missing until they are brought in."""
    with lock_account(lease.account_id):
        confirm_lease(lease)
        touched = forget_copies(lease, plan.vanished) | change_flags(lease, plan.flags)
        refresh_messages(lease.account_id, touched)
        known: dict[str, Any] = {"cursor": delta.cursor, "complete": False, "seemed_empty": False}
        if delta.present is not None:
            known["messages_known"] = len(delta.present)
        else:
            held = FolderMessage.objects.filter(folder_id=lease.folder).count()
            known["messages_known"] = held + len(plan.new)
        SyncState.objects.filter(folder_id=lease.folder).update(**known)


def forget_copies(lease: Lease, remote_ids: Iterable[str]) -> set[int]:
    """Drop copies that vanished from the lease's folder; return their messages, to be refreshed."""
    copies = FolderMessage.objects.filter(folder_id=lease.folder, remote_id__in=list(remote_ids))
    rows = list(copies.values_list("message_id", "flags"))
    if rows:
        copies.delete()
        count_copies(lease.folder, total=-len(rows), unread=-sum(is_unseen(flags) for _, flags in rows))
    return {message_id for message_id, _ in rows}


def change_flags(lease: Lease, flags: Mapping[str, frozenset[str]]) -> set[int]:
    """Set the flags of copies in the lease's folder; return their messages, to be refreshed."""
    if not flags:
        return set()
    copies = list(FolderMessage.objects.filter(folder_id=lease.folder, remote_id__in=list(flags)))
    unread = 0
    for copy in copies:
        now = flags[copy.remote_id]
        unread += is_unseen(now) - is_unseen(copy.flags)
        copy.flags = sorted(now)
    FolderMessage.objects.bulk_update(copies, ["flags"], batch_size=500)
    count_copies(lease.folder, total=0, unread=unread)
    return {copy.message_id for copy in copies}


def _reattach(lease: Lease, remote: MailSession, folder: Folder, delta: FolderDelta) -> None:
    """The server numbered the folder anew: give the copies we have their new ids, without downloading them again."""
    prints: list[Fingerprint] = []
    for ids in _chunks(sorted(delta.present or delta.seen), DESCRIBE):
        prints += remote.fingerprints(folder.ref, ids, message_ids=True)
    with lock_account(lease.account_id):
        confirm_lease(lease)
        copies = FolderMessage.objects.filter(folder_id=folder.pk)
        old = set(copies.values_list("message_id", flat=True))
        rows = list(copies.values_list("flags", flat=True))
        found = recognise(prints, _known_copies(Message.objects.filter(pk__in=old)))
        copies.delete()
        count_copies(folder.pk, total=-len(rows), unread=-sum(is_unseen(flags) for flags in rows))
        again = [_recognised(one, found[one.remote_id]) for one in prints if one.remote_id in found]
        store_arrivals(lease, again)
        refresh_messages(lease.account_id, old)
        # the old cursor is void: should we stop here, the next slice goes on from what is attached
        SyncState.objects.filter(folder_id=folder.pk).update(cursor=delta.cursor, complete=False)


def _known_copies(messages: Any) -> list[KnownCopy]:
    columns = messages.values_list("pk", "message_id_header", "size", "date")
    return [KnownCopy(*row) for row in columns]


def _recognised(one: Fingerprint, message_id: int) -> Arrival:
    return Arrival(one.remote_id, one.flags, one.internal_date, message_id=message_id)


def _bring_in(
    lease: Lease, remote: MailSession, folder: Folder, new: Sequence[str], until: float
) -> tuple[int, int, bool]:
    """Bring new messages in, newest first, until the slice's time is up.

    Returns how many came, how many the server did not give (gone meanwhile, or it cannot read them), and whether some
    are left.
    """
    arrived, at, count = 0, 0, FIRST_FETCH
    new = _attach_held(lease, remote, folder, new)
    while at < len(new):
        if arrived and time.monotonic() > until:
            return arrived, at - arrived, True
        ids = new[at : at + count]
        for batch in _batches(remote.fetch(folder.ref, ids)):
            arrived += len(batch)
            _store(lease, batch)
        at, count = at + len(ids), FETCH
    return arrived, at - arrived, False


def _attach_held(lease: Lease, remote: MailSession, folder: Folder, new: Sequence[str]) -> Sequence[str]:
    """Recognise arrivals that are messages another folder has just lost: a move. Return what is left to fetch."""
    if not new:
        return new
    held = Message.objects.filter(account_id=lease.account_id, held_by__isnull=False)
    known = _known_copies(held)
    if not known:
        return new
    give_back()
    attached: set[str] = set()
    for ids in _chunks(new, DESCRIBE):
        prints = remote.fingerprints(folder.ref, ids, message_ids=True)
        found = recognise(prints, known)
        with lock_account(lease.account_id):
            confirm_lease(lease)
            alive = set(Message.objects.filter(pk__in=set(found.values())).values_list("pk", flat=True))
            moved = [one for one in prints if found.get(one.remote_id) in alive]
            store_arrivals(lease, [_recognised(one, found[one.remote_id]) for one in moved])
        attached |= {one.remote_id for one in moved}
    return [remote_id for remote_id in new if remote_id not in attached]


def _batches(messages: Iterator[RemoteMessage]) -> Iterator[list[Arrival]]:
    """Group fetched messages so that neither their number nor their bytes grow large before they are committed."""
    batch: list[Arrival] = []
    size = 0
    give_back()
    try:
        for message in messages:
            batch.append(arrive(message))
            size += message.size
            if len(batch) >= FETCH or size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
                give_back()
    except BaseException:
        # what came before the connection broke lies in temporary files
        for one in batch:
            one.discard()
        raise
    if batch:
        yield batch


def _store(lease: Lease, batch: list[Arrival]) -> None:
    try:
        parse_unknown(lease.account_id, batch)
        with lock_account(lease.account_id):
            confirm_lease(lease)
            store_arrivals(lease, batch)
    finally:
        for one in batch:
            one.discard()


def _commit_compared(lease: Lease, *, asked: int, began: datetime, complete: bool) -> None:
    """All that the server gives is here: the comparison that began after request `asked` is done.

    Not `complete`: it names messages that it did not give. They are asked for again at the next comparison.
    """
    with lock_account(lease.account_id):
        confirm_lease(lease)
        mine = SyncState.objects.filter(folder_id=lease.folder)
        mine.update(complete=complete, looked=asked, looked_at=began)


def _as_status(cursor: dict[str, Any]) -> FolderStatus:
    return FolderStatus(
        messages=cursor.get("exists"),
        uidnext=cursor.get("uidnext"),
        uidvalidity=cursor.get("uidvalidity"),
        highestmodseq=cursor.get("modseq"),
    )


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for at in range(0, len(ids), size):
        yield ids[at : at + size]
