"""IMAP4rev1 and its extensions (RFC 3501, 9051): one login, read through `imap_wire`.

Used when offered, never needed: CONDSTORE (RFC 7162), ESEARCH (4731), LIST-STATUS (5819), SPECIAL-USE (6154),
OBJECTID (8474). Servers without them are compared in full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from sync.errors import FolderGone, MailError, ServerMisbehaved
from sync.providers import imap_connect
from sync.providers.base import (
    Cursor,
    Fingerprint,
    FolderDelta,
    FolderListing,
    FolderStatus,
    Login,
    RemoteFolder,
    RemoteMessage,
)
from sync.providers.imap_names import decode_name, quote_name, readable_name
from sync.providers.imap_parse import (
    FetchRow,
    Pieces,
    Spooled,
    number,
    pairs,
    parse_fetch_row,
    parse_uid_flags,
    parse_values,
)
from sync.providers.imap_refusals import refusal
from sync.providers.imap_roles import guess_roles, told_role
from sync.providers.imap_wire import Answer, ImapWire

#: UIDs in one command: some servers refuse longer lines.
MOST_UIDS = 100
_MESSAGE_ID = re.compile(rb"^message-id:\s*<?\s*([^<>]*?)\s*>?\s*$", re.IGNORECASE | re.MULTILINE)
_USED = frozenset({"CONDSTORE", "ENABLE", "ESEARCH", "LIST-STATUS", "SPECIAL-USE", "OBJECTID", "IDLE", "UIDPLUS"})


def connect(login: Login) -> ImapSession:
    """Resolve, connect, secure and log in, all within 18 s. Raises any MailError with its stage."""
    wire, offered = imap_connect.connect(login)
    if "ENABLE" in offered and "CONDSTORE" in offered:
        # Dovecot reports no HIGHESTMODSEQ until somebody switched it on
        wire.ask(b"ENABLE CONDSTORE")
    return ImapSession(wire, offered)


def _untagged(answer: Answer, kind: bytes) -> Iterator[bytes]:
    """The rest of each untagged line of one kind, of those without literals."""
    for pieces in answer.lines:
        line = cast(bytes, pieces[0])
        if line[2 : 2 + len(kind) + 1].upper().rstrip() == kind:
            yield line[2 + len(kind) :].strip()


class ImapSession:
    """See `base.MailSession`."""

    def __init__(self, wire: ImapWire, offered: frozenset[str]) -> None:
        self._wire = wire
        self._offered = offered
        self._open: str | None = None
        self.powers = offered & _USED

    # Folders

    def folders(self) -> FolderListing:
        """List all folders; the roles are the server's, else guessed from the names."""
        items = self._status_items()
        if "LIST-STATUS" in self._offered:
            command = b'LIST "" "*" RETURN (' + self._list_options() + b"STATUS (" + items + b"))"
        else:
            command = b'LIST "" "*"'
        answer = self._wire.require(command, asked="LIST")
        folders = [folder for pieces in answer.lines if (folder := _listed(pieces)) is not None]
        if not any(folder.ref == "INBOX" for folder in folders):
            raise ServerMisbehaved("LIST does not show INBOX", stage=self._wire.stage)
        status = dict(_statuses(answer))
        if "LIST-STATUS" not in self._offered:
            status = dict(self.status([folder.ref for folder in folders if folder.selectable]))
        folders = list({folder.ref: folder for folder in folders}.values())
        return FolderListing(tuple(_with_roles(folders, status)), status)

    def _list_options(self) -> bytes:
        return b"SPECIAL-USE " if "SPECIAL-USE" in self._offered else b""

    def _status_items(self) -> bytes:
        modseq = b" HIGHESTMODSEQ" if "CONDSTORE" in self._offered else b""
        return b"MESSAGES UIDNEXT UIDVALIDITY UNSEEN" + modseq

    def status(self, refs: Sequence[str]) -> Mapping[str, FolderStatus]:
        """STATUS of each, pipelined; refused ones are left out."""
        items = self._status_items()
        answers = self._wire.pipeline([b"STATUS %b (%b)" % (quote_name(ref), items) for ref in refs])
        return {ref: status for answer in answers for ref, status in _statuses(answer)}

    def unchanged(self, cursor: Cursor, status: FolderStatus) -> bool:
        """HIGHESTMODSEQ, UIDNEXT, UIDVALIDITY and MESSAGES together tell of every change (RFC 7162)."""
        told = (status.uidvalidity, status.uidnext, status.messages, status.highestmodseq)
        ours = (cursor.get("uidvalidity"), cursor.get("uidnext"), cursor.get("exists"), cursor.get("modseq"))
        return None not in told and told == ours

    # One folder

    def changes(self, ref: str, cursor: Cursor | None, *, relist: bool) -> FolderDelta:
        """By CHANGEDSINCE where there is a modseq to start from, else by all flags."""
        now = self._select(ref)
        reset = cursor is not None and cursor.get("uidvalidity") != now["uidvalidity"]
        since = None if cursor is None or reset else cursor.get("modseq")
        known = since is not None and now["modseq"] is not None and since <= now["modseq"]
        seen: dict[str, frozenset[str]] = {}
        if now["exists"] and cursor is not None and not (known and since == now["modseq"]):
            seen = self._flags(since if known else None)
        present: frozenset[str] | None = self._search()
        if known and not relist:
            assert cursor is not None
            arrived = sum(int(uid) >= (cursor.get("uidnext") or 0) for uid in present or ())
            if now["exists"] == cursor.get("exists", 0) + arrived and since == now["modseq"]:
                present = None if not arrived else present
        return FolderDelta(seen=seen, present=present, vanished=frozenset(), cursor=now, reset=reset)

    def _select(self, ref: str) -> Cursor:
        self._open = None
        condstore = b" (CONDSTORE)" if "CONDSTORE" in self._offered else b""
        answer = self._wire.ask(b"EXAMINE " + quote_name(ref) + condstore)
        if not answer.ok:
            raise self._refused(answer, ref)
        self._open = ref
        text = b"\n".join(cast(bytes, pieces[0]) for pieces in answer.lines) + b"\n" + answer.text
        exists = re.search(rb"^\* (\d+) EXISTS", text, re.MULTILINE | re.IGNORECASE)
        now: Cursor = {"exists": int(exists[1]) if exists else 0}
        for key, code in (("uidvalidity", b"UIDVALIDITY"), ("uidnext", b"UIDNEXT"), ("modseq", b"HIGHESTMODSEQ")):
            found = re.search(rb"\[" + code + rb" (\d+)\]", text, re.IGNORECASE)
            now[key] = int(found[1]) if found else None
        return now

    def _refused(self, answer: Answer, ref: str) -> MailError:
        error = refusal(answer.status, answer.text, asked=f"EXAMINE {readable_name(ref)}", stage=self._wire.stage)
        if isinstance(error, FolderGone) or answer.code:
            return error
        # a NO without a code: only the list can tell whether it is gone
        listed = self._wire.require(b'LIST "" ' + quote_name(ref), asked="LIST")
        return error if any(_listed(pieces) for pieces in listed.lines) else FolderGone(str(error))

    def _flags(self, since: int | None) -> dict[str, frozenset[str]]:
        changed = b" (CHANGEDSINCE %d)" % since if since is not None else b""
        seen = {}
        answer = Answer()
        for pieces in self._wire.stream(b"UID FETCH 1:* (UID FLAGS)" + changed, answer):
            found = parse_uid_flags(cast(bytes, pieces[0]))
            if found is not None and found[0] is not None and found[1] is not None:
                seen[str(found[0])] = found[1]
        self._check(answer, "UID FETCH flags")
        return seen

    def _search(self) -> frozenset[str]:
        if "ESEARCH" in self._offered:
            answer = self._wire.require(b"UID SEARCH RETURN (ALL) ALL", asked="UID SEARCH")
            ids: set[str] = set()
            for line in _untagged(answer, b"ESEARCH"):
                if found := re.search(rb"\bALL ([\d:,]+)", line):
                    ids.update(_expand(found[1]))
            return frozenset(ids)
        answer = self._wire.require(b"UID SEARCH ALL", asked="UID SEARCH")
        return frozenset(uid.decode() for line in _untagged(answer, b"SEARCH") for uid in line.split())

    def fingerprints(self, ref: str, ids: Sequence[str], *, message_ids: bool) -> Sequence[Fingerprint]:
        """FLAGS, RFC822.SIZE, INTERNALDATE, and the Message-ID where asked."""
        header = b" BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]" if message_ids else b""
        prints = []
        for row in self._rows(ref, ids, b"UID FLAGS INTERNALDATE RFC822.SIZE" + header):
            head = next((value for value in row.literals.values() if isinstance(value, bytes)), b"")
            found = _MESSAGE_ID.search(re.sub(rb"\r?\n[ \t]+", b" ", head).replace(b"\r\n", b"\n"))
            message_id = found[1].decode("utf-8", "replace") if found and found[1] else None
            flags = row.flags or frozenset()
            prints.append(Fingerprint(str(row.uid), flags, row.size or 0, row.internal_date, message_id))
        return prints

    def fetch(self, ref: str, ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """Whole messages; long ones arrive in a temporary file."""
        wanted = set(ids)
        for row in self._rows(ref, ids, b"UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[]"):
            body = row.literals.get(b"BODY[]")
            if str(row.uid) not in wanted or body is None:
                continue
            wanted.discard(str(row.uid))
            flags = row.flags or frozenset()
            if isinstance(body, Spooled):
                yield RemoteMessage(str(row.uid), flags, row.internal_date, body.size, None, Path(body.path))
            else:
                yield RemoteMessage(str(row.uid), flags, row.internal_date, len(body), body)

    def _rows(self, ref: str, ids: Sequence[str], items: bytes) -> Iterator[FetchRow]:
        if self._open != ref:
            self._select(ref)
        for at in range(0, len(ids), MOST_UIDS):
            uids = ",".join(ids[at : at + MOST_UIDS]).encode()
            answer = Answer()
            for pieces in self._wire.stream(b"UID FETCH %b (%b)" % (uids, items), answer):
                row = parse_fetch_row(pieces)
                if row is not None and row.uid is not None:
                    yield row
            self._check(answer, "UID FETCH")

    def _check(self, answer: Answer, asked: str) -> None:
        if not answer.ok:
            raise refusal(answer.status, answer.text, asked=asked, stage=self._wire.stage)

    def close(self) -> None:
        """LOGOUT where the connection is still in step."""
        if not self._wire.busy:
            with suppress(MailError, OSError):
                self._wire.timeout = 2.0
                self._wire.ask(b"LOGOUT")
        self._wire.shutdown()


def _expand(ranges: bytes) -> Iterator[str]:
    for one in ranges.split(b","):
        low, _, high = one.partition(b":")
        first, last = sorted((int(low), int(high or low)))
        yield from map(str, range(first, last + 1))


def _listed(pieces: Pieces) -> RemoteFolder | None:
    """A LIST answer as a folder without a role yet; None: another answer."""
    line = cast(bytes, pieces[0])
    if line[:7].upper() != b"* LIST ":
        return None
    attributes, delimiter, name = parse_values([line[7:], *pieces[1:]])[:3]
    if not isinstance(attributes, list) or not isinstance(name, bytes):
        return None
    ref = decode_name(name)
    told = tuple(one.decode("ascii", "replace") for one in attributes if isinstance(one, bytes))
    mark = delimiter.decode("utf-8", "replace") if isinstance(delimiter, bytes) and delimiter else None
    shown = readable_name(ref)
    levels = tuple(level for level in shown.split(mark) if level) if mark else (shown,)
    folded = {one.lower() for one in told}
    selectable = not folded & {"\\noselect", "\\nonexistent"}
    return RemoteFolder(ref, levels or (shown,), mark, told, told_role(ref, told), selectable)


def _with_roles(folders: Sequence[RemoteFolder], status: Mapping[str, FolderStatus]) -> Iterator[RemoteFolder]:
    guessed = guess_roles(folders, frozenset({"inbox"}))
    given: set[str] = set()
    for one in folders:
        role = one.role or guessed.get(one.ref)
        role = None if role in given else role
        if role is not None:
            given.add(role)
        uidvalidity = status[one.ref].uidvalidity if one.ref in status else None
        stable = None if uidvalidity is None else str(uidvalidity)
        yield RemoteFolder(one.ref, one.levels, one.delimiter, one.attributes, role, one.selectable, stable)


def _statuses(answer: Answer) -> Iterator[tuple[str, FolderStatus]]:
    for pieces in answer.lines:
        line = cast(bytes, pieces[0])
        if line[:9].upper() != b"* STATUS ":
            continue
        name, values = parse_values([line[9:], *pieces[1:]])[:2]
        if isinstance(name, bytes):
            told = {key: number(value) for key, value in pairs(values)}
            yield (
                decode_name(name),
                FolderStatus(
                    messages=told.get(b"MESSAGES"),
                    unseen=told.get(b"UNSEEN"),
                    uidnext=told.get(b"UIDNEXT"),
                    uidvalidity=told.get(b"UIDVALIDITY"),
                    highestmodseq=told.get(b"HIGHESTMODSEQ") or None,
                ),
            )
