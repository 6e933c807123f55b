"""Streaming whole messages and their fingerprints with UID FETCH (RFC 3501 6.4.5), in batches of a few megabytes.

Every body is asked for as its first LARGE_MESSAGE bytes: nearly all messages come whole in the same answer as
their flags and date, and a larger one shows itself by filling that piece. The rest of it follows piece by piece into
a temporary file. RFC822.SIZE is never trusted for this: some servers estimate it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sync.errors import ServerMisbehaved
from sync.providers.base import LARGE_MESSAGE, Fingerprint, RemoteMessage
from sync.providers.imap_parse import FetchRow, Garbled, Spooled, format_sets, parse_fetch_row
from sync.providers.imap_refusals import refusal
from sync.providers.imap_wire import Answer, ImapWire, new_spool

log = logging.getLogger(__name__)

#: Bytes to ask for at once, as far as the sizes seen so far foretell.
BATCH_BYTES = 4 << 20
#: Ids in one command: some servers refuse sets of more than a hundred.
MOST_IDS = 100
#: Ids of the first command, while nothing is known of the sizes.
FIRST_IDS = 16
#: Ids in one command for fingerprints, which are small.
MOST_FINGERPRINTS = 100

_ITEMS = b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]<0.%d>)" % LARGE_MESSAGE
_PLAIN_ITEMS = b"(UID FLAGS INTERNALDATE RFC822.SIZE)"
_ID_ITEMS = b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"
_MESSAGE_ID = re.compile(rb"^message-id:\s*(?:<([^<>]+)>|(\S+))", re.IGNORECASE)
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(slots=True)
class _Pace:
    """How many messages to ask for at once, learned from those that came."""

    messages: int = 0
    octets: int = 0

    def count(self) -> int:
        if not self.messages:
            return FIRST_IDS
        mean = max(1, self.octets // self.messages)
        return max(1, min(MOST_IDS, BATCH_BYTES // mean))

    def learn(self, size: int) -> None:
        self.messages += 1
        self.octets += size


def fetch_messages(wire: ImapWire, ids: Sequence[str]) -> Generator[RemoteMessage, None, None]:
    """Yield messages of the selected folder in the order asked.

    What the server does not bring is asked for once more, message by message, so that one it chokes on does not
    hide the others; what does not come then either is left out.
    """
    pace, start = _Pace(), 0
    while start < len(ids):
        batch = ids[start : start + pace.count()]
        start += len(batch)
        rows = _fetch_rows(wire, batch)
        missing = [uid for uid in batch if uid not in rows]
        if missing:
            # what came since the folder was opened some servers show only after a nudge
            wire.ask(b"NOOP")
        for uid in missing:
            rows |= _fetch_rows(wire, [uid])
        try:
            while batch:
                uid, *batch = batch
                if uid in rows:
                    message = _whole_message(wire, uid, rows.pop(uid))
                    if message is not None:
                        pace.learn(message.size)
                        yield message
        finally:
            for row in rows.values():
                _discard(row)


def _fetch_rows(wire: ImapWire, uids: Sequence[str]) -> dict[str, FetchRow]:
    """Fetch one batch and return uid -> row with body and flags. Raises ServerMisbehaved where flags never come."""
    rows: dict[str, FetchRow] = {}
    try:
        for _, ids in format_sets(map(int, uids), most_ids=MOST_IDS):
            _collect(wire, b"UID FETCH " + ids + b" " + _ITEMS, set(uids), rows)
        _ask_missing_flags(wire, rows)
    except BaseException:
        for row in rows.values():
            _discard(row)
        raise
    for uid in [uid for uid, row in rows.items() if _body(row) is None or row.flags is None]:
        _discard(rows.pop(uid))
    return rows


def _collect(wire: ImapWire, command: bytes, wanted: set[str], rows: dict[str, FetchRow]) -> None:
    """Add the FETCH answers to a command to `rows`, uid -> row: a server may tell of one message in several answers."""
    for row in _rows(wire, command):
        uid = str(row.uid)
        if uid not in wanted:
            _discard(row)
        elif uid in rows:
            rows[uid] = _joined(rows[uid], row)
        else:
            rows[uid] = row


def _joined(first: FetchRow, then: FetchRow) -> FetchRow:
    """Put two answers about one message together: flags as told last, all else as told first."""
    _discard(
        replace(then, literals={name: then.literals[name] for name in then.literals.keys() & first.literals.keys()})
    )
    return replace(
        first,
        flags=first.flags if then.flags is None else then.flags,
        internal_date=first.internal_date or then.internal_date,
        size=then.size if first.size is None else first.size,
        literals={**then.literals, **first.literals},
    )


def _ask_missing_flags(wire: ImapWire, rows: dict[str, FetchRow]) -> None:
    """Ask for the flags of messages whose body came without them; who has none any more has vanished meanwhile."""
    bare = {uid for uid, row in rows.items() if _body(row) is not None and row.flags is None}
    told: dict[str, FetchRow] = {}
    for _, ids in format_sets(map(int, bare), most_ids=MOST_IDS):
        _collect(wire, b"UID FETCH " + ids + b" (UID FLAGS)", bare, told)
    for uid, row in told.items():
        if row.flags is None:
            raise ServerMisbehaved(f"UID FETCH {uid} (FLAGS) brings no flags")
        rows[uid] = _joined(rows[uid], row)


def _rows(wire: ImapWire, command: bytes) -> Iterator[FetchRow]:
    """Yield the FETCH answers to a command; unreadable ones are skipped. NO ends it like OK: what came is there."""
    answer = Answer()
    for pieces in wire.stream(command, answer):
        try:
            row = parse_fetch_row(pieces)
        except Garbled as error:
            log.warning("FETCH answer skipped: %s", error)
            continue
        if row is not None:
            yield row
    if not answer.ok:
        refused = refusal(answer.status, answer.text, asked="UID FETCH", stage=None)
        log.warning("%s", refused)
        if answer.code in {b"THROTTLED", b"LIMIT", b"UNAVAILABLE", b"OVERQUOTA"}:
            raise refused


def _body(row: FetchRow) -> bytes | Spooled | None:
    """Return the octets of BODY[], ranged or not; None: it is missing."""
    for name, octets in row.literals.items():
        if name.startswith(b"BODY[]"):
            return octets
    return None


def _discard(row: FetchRow) -> None:
    for octets in row.literals.values():
        if isinstance(octets, Spooled):
            octets.path.unlink(missing_ok=True)


def _whole_message(wire: ImapWire, uid: str, row: FetchRow) -> RemoteMessage | None:
    """Return the message, its further pieces fetched; None when they do not come."""
    octets = _body(row)
    assert octets is not None
    assert row.flags is not None
    spool: Path | None = None
    if isinstance(octets, Spooled):
        # the server ignored the range and sent all of it
        raw, spool, size = None, octets.path, octets.size
    elif len(octets) == LARGE_MESSAGE and row.size != LARGE_MESSAGE:
        fetched = _fetch_rest(wire, uid, octets)
        if fetched is None:
            return None
        raw, spool, size = None, fetched.path, fetched.size
    else:
        raw, size = octets, len(octets)
    return RemoteMessage(uid, row.flags, row.internal_date, size, raw, spool)


def _fetch_rest(wire: ImapWire, uid: str, first: bytes) -> Spooled | None:
    """Fetch what follows the first piece, until a piece comes short; None when a piece is missing."""
    spool = new_spool()
    try:
        with spool.open("wb") as file:
            file.write(first)
            size = len(first)
            while True:
                piece = _fetch_piece(wire, uid, size)
                if piece is None:
                    break
                file.write(piece)
                size += len(piece)
                if len(piece) < LARGE_MESSAGE:
                    return Spooled(spool, size)
    except BaseException:
        spool.unlink(missing_ok=True)
        raise
    spool.unlink(missing_ok=True)
    return None


def _fetch_piece(wire: ImapWire, uid: str, start: int) -> bytes | None:
    command = b"UID FETCH %s (UID BODY.PEEK[]<%d.%d>)" % (uid.encode("ascii"), start, LARGE_MESSAGE)
    found: bytes | None = None
    for row in _rows(wire, command):
        octets = _body(row)
        if isinstance(octets, bytes) and str(row.uid) == uid:
            found = octets
        else:
            _discard(row)
    return found


# Fingerprints


def fetch_fingerprints(wire: ImapWire, ids: Sequence[str], *, message_ids: bool) -> list[Fingerprint]:
    """Describe messages of the selected folder, in the order asked."""
    rows: dict[str, FetchRow] = {}
    wanted = set(ids)
    items = _ID_ITEMS if message_ids else _PLAIN_ITEMS
    for _, uids in format_sets(map(int, ids), most_ids=MOST_FINGERPRINTS):
        _collect(wire, b"UID FETCH " + uids + b" " + items, wanted, rows)
    return [
        Fingerprint(uid, row.flags, row.size, row.internal_date, _message_id(row))
        for uid in ids
        if (row := rows.get(uid)) is not None and row.flags is not None and row.size is not None
    ]


def _message_id(row: FetchRow) -> str | None:
    for name, octets in row.literals.items():
        if name.startswith(b"BODY[HEADER") and isinstance(octets, bytes):
            match = _MESSAGE_ID.match(_FOLD.sub(b"", octets))
            if match:
                return (match[1] or match[2]).strip().decode("utf-8", "replace")
    return None
