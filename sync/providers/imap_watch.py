"""Hearing of changes: NOTIFY for every folder where offered (RFC 5465), else IDLE on the inbox (RFC 2177).

What IDLE cannot tell of other folders, LIST-STATUS tells on the same connection between two IDLEs; with NOTIFY it is
asked too, rarely, as a net below. The inbox is open all the time, read-only; what happens there is told at once.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, replace
from typing import Protocol

from sync.providers.base import FolderListing, FolderStatus, News
from sync.providers.imap_changes import Selected
from sync.providers.imap_folders import read_statuses
from sync.providers.imap_parse import Pieces
from sync.providers.imap_wire import ImapWire

INBOX = "INBOX"
#: Seconds between two questions for the status of all folders, where IDLE tells of the inbox alone ...
ASK_SECONDS = 30.0
#: ... and where NOTIFY tells of all.
NET_SECONDS = 300.0
#: What we want to hear: of the open folder as it happens, of all others by STATUS, and of folders themselves.
NOTIFY = (
    b"NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))"
    b" (personal (MessageNew MessageExpunge FlagChange MailboxName))"
)
#: Untagged answers that tell of the open folder.
_HERE = (b"EXISTS", b"EXPUNGE", b"FETCH")
#: The server gave up telling (RFC 5465 5.8).
_OVERFLOW = b"[NOTIFICATIONOVERFLOW]"


class Session(Protocol):
    """What a watch needs of its session."""

    def open_inbox(self) -> Selected | None:
        """Have the inbox open, read-only; return how it stands, None where it was open already."""

    def list_beside(self) -> FolderListing:
        """List all folders with their status; what is open stays open."""


class Watch:
    """What one session has heard so far. `listen` may be called again and again."""

    def __init__(self, wire: ImapWire, session: Session, powers: frozenset[str]) -> None:
        self._wire = wire
        self._session = session
        self._notified = False
        self._refused = "NOTIFY" not in powers
        #: As last told: of every folder but the inbox.
        self._status: dict[str, FolderStatus] = {}
        #: Messages in the open folder, as last told; None: not known.
        self._exists: int | None = None
        #: As it was when opened.
        self._inbox: Selected | None = None
        #: What the list of folders was made of.
        self._shape: object = None

    @property
    def hears_all(self) -> bool:
        """Whether folders other than the inbox are told of at once too."""
        return self._notified

    def listen(self, seconds: float) -> Generator[News, None, None]:
        """Yield news as they come, for `seconds`; first whatever differs since the last call, or unknown."""
        ends = time.monotonic() + seconds
        while True:
            if news := self._ask():
                yield news
            left = ends - time.monotonic()
            if left <= 0:
                return
            yield from self._hear(min(left, NET_SECONDS if self._notified else ASK_SECONDS))

    def _switch_on(self) -> None:
        if self._notified or self._refused:
            return
        # NO: too many folders, or a kind of event it does not have
        self._notified = self._wire.ask(NOTIFY).ok
        self._refused = not self._notified

    def _ask(self) -> News:
        """Compare all folders with what was told before; the first time everything is new."""
        missed: set[str] = set()
        self._wire.overheard = lambda pieces: missed.update(self._here(pieces))
        try:
            inbox = self._session.open_inbox()
            if inbox is not None:
                # the answers to EXAMINE tell how it is, not that it changed
                missed = set() if inbox == self._inbox else {INBOX}
                self._inbox, self._exists = inbox, inbox.exists
            self._switch_on()
            listing = self._session.list_beside()
        finally:
            self._wire.overheard = None
        shape = frozenset((one.ref, one.selectable, one.role) for one in listing.folders)
        status = {ref: _settled(one) for ref, one in listing.status.items() if ref != INBOX}
        differing = {ref for ref, one in status.items() if self._status.get(ref) != one}
        renewed, self._shape, self._status = shape != self._shape, shape, status
        return News(frozenset(differing | missed), listing=renewed)

    def _hear(self, seconds: float) -> Iterator[News]:
        folders: set[str] = set()
        listing = False
        for pieces in self._wire.listen(seconds):
            heard = self._interpret(pieces)
            folders |= heard.folders
            listing |= heard.listing
            # what came in one piece is one piece of news
            if (folders or listing) and not self._wire.has_more:
                yield News(frozenset(folders), listing=listing)
                folders, listing = set(), False
        if folders or listing:
            yield News(frozenset(folders), listing=listing)

    def _interpret(self, pieces: Pieces) -> News:
        line = pieces[0]
        assert isinstance(line, bytes)
        kind = line[2:10].upper()
        if _OVERFLOW in line.upper():
            self._notified = False
            return News(listing=True)
        if kind.startswith(b"LIST "):
            return News(listing=True)
        return self._told(pieces) if kind.startswith(b"STATUS ") else News(self._here(pieces))

    def _told(self, pieces: Pieces) -> News:
        """Servers tell of a folder only what changed; what is not told stays."""
        changed = set()
        for ref, told in read_statuses([pieces]).items():
            before = self._status.get(ref, FolderStatus())
            now = replace(before, **{name: value for name, value in asdict(told).items() if value is not None})
            now = _settled(now)
            if now != before and ref != INBOX:
                changed.add(ref)
                self._status[ref] = now
        return News(frozenset(changed))

    def _here(self, pieces: Pieces) -> frozenset[str]:
        """Return the inbox where an untagged answer tells a change of the open folder, not what is known."""
        line = pieces[0]
        assert isinstance(line, bytes)
        words = line[:64].upper().split()
        if words[1:2] == [b"VANISHED"]:
            self._exists = None
            return frozenset({INBOX})
        if len(words) < 3 or not words[1].isdigit() or words[2] not in _HERE:
            return frozenset()
        before = self._exists
        if words[2] == b"EXISTS":
            self._exists = int(words[1])
        elif words[2] == b"EXPUNGE" and before is not None:
            self._exists = before - 1
        return frozenset() if words[2] == b"EXISTS" and self._exists == before else frozenset({INBOX})


def _settled(status: FolderStatus) -> FolderStatus:
    """Leave out what means nothing: Courier tells another UIDVALIDITY each second of a folder that holds no message."""
    return replace(status, uidvalidity=None) if status.messages == 0 else status
