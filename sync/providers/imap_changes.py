"""What changed in a folder: by CONDSTORE where the server keeps modification sequences (RFC 7162), else by re-reading.

The cursor is {uidvalidity, uidnext, modseq, exists}: the first three as EXAMINE told them *before* anything was read,
so what changes meanwhile is told again next time and never lost; `exists` counts what the caller holds afterwards,
so a vanished message that was overlooked shows at the next look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sync.errors import ServerMisbehaved
from sync.providers.base import Cursor, FolderDelta, FolderStatus
from sync.providers.imap_parse import Garbled, Pieces, parse_set, parse_uid_flags, response_code
from sync.providers.imap_refusals import refusal
from sync.providers.imap_wire import Answer, ImapWire

_COUNT = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE)", re.IGNORECASE)
_STATUS_LINE = re.compile(rb"\* (?:OK|NO) (\[.*)", re.IGNORECASE | re.DOTALL)
_ESEARCH_ALL = re.compile(rb"\bALL ([\d,:]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Selected:
    """A folder as EXAMINE shows it; None: the server does not tell."""

    exists: int
    uidvalidity: int
    uidnext: int | None
    modseq: int | None


def read_selected(answer: Answer) -> Selected:
    """Read the answer to EXAMINE. A folder without UIDVALIDITY gets 0: its ids never become void."""
    exists = 0
    codes: dict[bytes, int] = {}
    for pieces in answer.lines:
        line = pieces[0]
        assert isinstance(line, bytes)
        if counted := _COUNT.match(line):
            exists = int(counted[1]) if counted[2].upper() == b"EXISTS" else max(0, exists - 1)
        elif told := _STATUS_LINE.match(line):
            code, argument, _ = response_code(told[1])
            if argument.isdigit():
                codes[code] = int(argument)
    return Selected(
        exists=exists,
        uidvalidity=codes.get(b"UIDVALIDITY", 0),
        uidnext=codes.get(b"UIDNEXT") or None,
        modseq=codes.get(b"HIGHESTMODSEQ") or None,
    )


def find_changes(wire: ImapWire, now: Selected, cursor: Cursor | None, *, relist: bool, esearch: bool) -> FolderDelta:
    """Compare the selected folder with `cursor`."""
    if cursor is None or cursor["uidvalidity"] != now.uidvalidity:
        present = _all_uids(wire, now, esearch=esearch)
        return _delta(now, {}, present, reset=cursor is not None)
    if now.modseq is None or cursor["modseq"] is None or now.modseq < cursor["modseq"]:
        # going down means that the server lost count (a restored backup): nothing it told before holds
        return _reread(wire, now, esearch=esearch)
    return _since(wire, now, cursor, relist=relist, esearch=esearch)


def _since(wire: ImapWire, now: Selected, cursor: Cursor, *, relist: bool, esearch: bool) -> FolderDelta:
    """CONDSTORE: ask what changed, and for all ids only when the count does not add up."""
    quiet = now.modseq == cursor["modseq"] and now.uidnext == cursor["uidnext"]
    seen: dict[str, frozenset[str]] = {}
    if not quiet and now.exists:
        seen, _ = _fetch_flags(wire, b" (CHANGEDSINCE %d)" % cursor["modseq"])
    arrived = _arrived(seen, cursor["uidnext"])
    if relist or arrived is None or now.exists != cursor["exists"] + arrived:
        return _delta(now, seen, _all_uids(wire, now, esearch=esearch))
    return FolderDelta(seen, None, frozenset(), _cursor(now, cursor["exists"] + arrived))


def _arrived(seen: Mapping[str, frozenset[str]], uidnext: int | None) -> int | None:
    """Count the new messages among `seen`; None: nobody can tell, for want of UIDNEXT."""
    if uidnext is None:
        return 0 if not seen else None
    return sum(1 for uid in seen if int(uid) >= uidnext)


def _reread(wire: ImapWire, now: Selected, *, esearch: bool) -> FolderDelta:
    """Without CONDSTORE: all flags and all ids, every time."""
    if not now.exists:
        return _delta(now, {}, frozenset())
    seen, present = _fetch_flags(wire, b"")
    if len(present) < now.exists:
        # rows are missing, or messages vanished just now: what either answer names is there
        present |= _all_uids(wire, now, esearch=esearch)
    return _delta(now, seen, frozenset(map(str, present)))


def _delta(
    now: Selected, seen: Mapping[str, frozenset[str]], present: frozenset[str], *, reset: bool = False
) -> FolderDelta:
    return FolderDelta(seen, present, frozenset(), _cursor(now, len(present)), reset=reset)


def _cursor(now: Selected, exists: int) -> Cursor:
    return {"uidvalidity": now.uidvalidity, "uidnext": now.uidnext, "modseq": now.modseq, "exists": exists}


def is_unchanged(cursor: Cursor, status: FolderStatus) -> bool:
    """True when STATUS proves that nothing differs: only modification sequences can."""
    proof = (status.uidvalidity, status.uidnext, status.highestmodseq, status.messages)
    known = (cursor["uidvalidity"], cursor["uidnext"], cursor["modseq"], cursor["exists"])
    return None not in proof and proof == known


# Reading ids and flags


def _fetch_flags(wire: ImapWire, modifier: bytes) -> tuple[dict[str, frozenset[str]], set[str]]:
    """Read flags of all messages, or of those `modifier` leaves; return uid -> flags, and every UID named.

    Answers without UID are unsolicited and belong to a change that the next look tells; answers without FLAGS
    say only that the message is there.
    """
    answer = Answer()
    seen: dict[str, frozenset[str]] = {}
    named: set[str] = set()
    for pieces in wire.stream(b"UID FETCH 1:* (UID FLAGS)" + modifier, answer):
        line = pieces[0]
        assert isinstance(line, bytes)
        row = parse_uid_flags(line)
        if row is None or row[0] is None:
            continue
        uid = str(row[0])
        named.add(uid)
        if row[1] is not None:
            seen[uid] = row[1]
    if not answer.ok:
        raise refusal(answer.status, answer.text, asked="UID FETCH 1:* (FLAGS)", stage=None)
    return seen, named


def _all_uids(wire: ImapWire, now: Selected, *, esearch: bool) -> frozenset[str]:
    """Return every UID of the selected folder. Raises ServerMisbehaved when it counts messages but names none."""
    if not now.exists:
        return frozenset()
    answer = wire.ask(b"UID SEARCH RETURN (ALL) ALL" if esearch else b"UID SEARCH ALL")
    uids = _searched(answer.lines) if answer.ok else set()
    if not uids:
        # SEARCH refused, or its answer lost
        _, named = _fetch_flags(wire, b"")
        if not named and not _expunged(answer.lines):
            raise ServerMisbehaved(f"the server counts {now.exists} messages and names none")
        return frozenset(named)
    return frozenset(map(str, uids))


def _searched(lines: Iterable[Pieces]) -> set[int]:
    """Return the UIDs of all SEARCH and ESEARCH answers together; some servers send several."""
    uids: set[int] = set()
    for pieces in lines:
        line = pieces[0]
        assert isinstance(line, bytes)
        kind = line[2:10].upper()
        if kind.startswith(b"ESEARCH"):
            if found := _ESEARCH_ALL.search(line):
                uids.update(_read_set(found[1]))
        elif kind.startswith(b"SEARCH"):
            # RFC 7162 3.1.5 puts (MODSEQ n) behind the ids
            uids.update(int(word) for word in line[8:].partition(b"(")[0].split() if word.isdigit())
    return uids


def _read_set(text: bytes) -> Iterable[int]:
    try:
        return list(parse_set(text))
    except Garbled as error:
        raise ServerMisbehaved(f"ESEARCH: {error}") from error


def _expunged(lines: Iterable[Pieces]) -> bool:
    return any(isinstance(pieces[0], bytes) and b"EXPUNGE" in pieces[0].upper() for pieces in lines)
