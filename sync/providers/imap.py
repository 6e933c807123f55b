"""IMAP4rev1 (RFC 3501), with CONDSTORE, ESEARCH, SPECIAL-USE, LIST-STATUS, OBJECTID and IDLE where offered.

Folders are opened read-only (EXAMINE) and bodies read with BODY.PEEK: mirroring changes nothing in a mailbox.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress

from sync.errors import FolderGone, MailError, ServerMisbehaved, Transient
from sync.providers.base import (
    Cursor,
    Fingerprint,
    FolderDelta,
    FolderListing,
    FolderStatus,
    Login,
    News,
    RemoteMessage,
)
from sync.providers.imap_changes import Selected, find_changes, is_unchanged, read_selected
from sync.providers.imap_connect import connect as open_wire
from sync.providers.imap_fetch import fetch_fingerprints, fetch_messages
from sync.providers.imap_folders import MailboxIds, Namespaces, ask_status, is_listed, list_folders, read_namespaces
from sync.providers.imap_names import quote_name
from sync.providers.imap_parse import response_code
from sync.providers.imap_refusals import refusal
from sync.providers.imap_watch import INBOX, Watch
from sync.providers.imap_wire import Answer, ImapWire

#: What we use of what servers offer.
USED = frozenset(
    {"CONDSTORE", "ENABLE", "ESEARCH", "ID", "IDLE", "LIST-EXTENDED", "LIST-STATUS", "NAMESPACE", "NOTIFY", "OBJECTID"}
    | {"SPECIAL-USE", "UNSELECT"}
)
#: Seconds a server may take to say goodbye.
GOODBYE_SECONDS = 2.0

_IDENTITY = b'ID ("name" "Mailmirror")'


def connect(login: Login) -> ImapSession:
    """Log in. Raises any MailError, with its stage, within 20 seconds."""
    wire, offered = open_wire(login)
    try:
        return ImapSession(wire, offered)
    except BaseException:
        wire.shutdown()
        raise


class ImapSession:
    """One login to one mailbox; see `MailSession` and `CanWatch`."""

    def __init__(self, wire: ImapWire, offered: frozenset[str]) -> None:
        #: Capabilities the server offers and we use, upper case.
        self.powers: frozenset[str] = offered & USED
        self._wire = wire
        self._selected: str | None = None
        #: ref -> the folder as we last saw it, to notice what happened while another one was open.
        self._known: dict[str, Selected] = {}
        self._mailbox_ids = MailboxIds()
        self._watch: Watch | None = None
        self._namespaces = self._introduce()

    def _introduce(self) -> Namespaces:
        """Say who we are and switch on what must be switched on, in one round trip."""
        commands = []
        if "ID" in self.powers:
            commands.append(_IDENTITY)
        if {"ENABLE", "CONDSTORE"} <= self.powers:
            commands.append(b"ENABLE CONDSTORE")
        if "NAMESPACE" in self.powers:
            commands.append(b"NAMESPACE")
        answers = self._wire.pipeline(commands)
        return read_namespaces(pieces for answer in answers for pieces in answer.lines)

    def folders(self) -> FolderListing:
        """List all folders with their status: one round trip with LIST-STATUS, else two.

        With OBJECTID one more where folders are new to this session.
        """
        self._catch_up()
        return list_folders(self._wire, self.powers, self._namespaces, self._mailbox_ids, ahead=self._leave())

    def status(self, refs: Sequence[str]) -> Mapping[str, FolderStatus]:
        """Tell the status of folders in one round trip; refused ones are left out."""
        self._catch_up()
        return ask_status(self._wire, refs, self.powers, ahead=self._leave())

    def changes(self, ref: str, cursor: Cursor | None, *, relist: bool) -> FolderDelta:
        """Compare a folder with `cursor`: one round trip when nothing changed, two or three else."""
        now = self._select(ref)
        delta = find_changes(self._wire, now, cursor, relist=relist, esearch="ESEARCH" in self.powers)
        self._known[ref] = now
        return delta

    def unchanged(self, cursor: Cursor, status: FolderStatus) -> bool:
        """True when STATUS proves it; without CONDSTORE nothing does."""
        return "CONDSTORE" in self.powers and is_unchanged(cursor, status)

    def fingerprints(self, ref: str, ids: Sequence[str], *, message_ids: bool) -> Sequence[Fingerprint]:
        """Describe messages without their bodies."""
        self._reopen(ref)
        return fetch_fingerprints(self._wire, ids, message_ids=message_ids)

    def fetch(self, ref: str, ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """Stream whole messages in the order asked."""
        self._reopen(ref)
        with closing(fetch_messages(self._wire, ids)) as messages:
            yield from messages

    @property
    def hears_all(self) -> bool:
        """Whether NOTIFY is on; known once the session has listened."""
        return self._watch is not None and self._watch.hears_all

    def watch(self, *, seconds: float) -> Generator[News, None, None]:
        """Listen for `seconds`, by NOTIFY or IDLE; raises ServerMisbehaved where the server has no IDLE."""
        if "IDLE" not in self.powers:
            raise ServerMisbehaved("the server has no IDLE: it is to be asked")
        if self._watch is None:
            self._watch = Watch(self._wire, self, self.powers)
        with closing(self._watch.listen(seconds)) as news:
            yield from news

    def open_inbox(self) -> Selected | None:
        """Have the inbox open, read-only; return how it stands, None where it was open already."""
        return None if self._selected == INBOX else self._select(INBOX)

    def list_beside(self) -> FolderListing:
        """List all folders with their status; the folder that is open stays open, and its own status may be old."""
        return list_folders(self._wire, self.powers, self._namespaces, self._mailbox_ids)

    def close(self) -> None:
        """Log out and close the connection. Raises nothing."""
        with suppress(MailError):
            if not self._wire.busy:
                self._wire.timeout = GOODBYE_SECONDS
                self._wire.deadline = time.monotonic() + GOODBYE_SECONDS
                self._wire.ask(b"LOGOUT")
        self._wire.shutdown()

    # Opening folders

    def _catch_up(self) -> None:
        """Let the open folder see what others did: STATUS of it tells the old state otherwise (RFC 3501 6.3.10)."""
        if self._selected is not None:
            self._wire.require(b"NOOP", asked="NOOP")

    def _select(self, ref: str) -> Selected:
        """Open a folder read-only, which leaves \\Recent to other clients. Raises FolderGone."""
        command = b"EXAMINE " + quote_name(ref) + (b" (CONDSTORE)" if "CONDSTORE" in self.powers else b"")
        # a refused EXAMINE leaves no folder open
        self._selected = None
        answer = self._wire.ask(command)
        if not answer.ok:
            raise self._why_refused(ref, answer)
        self._selected = ref
        return read_selected(answer)

    def _leave(self) -> bytes:
        """Return the command that closes the open folder, empty when none is open.

        Of the open folder STATUS tells what the session has seen so far, not how it stands (Dovecot does so).
        """
        if self._selected is None:
            return b""
        self._selected = None
        # CLOSE expunges nothing: the folder was opened read-only (RFC 3501 6.4.2)
        return b"UNSELECT" if "UNSELECT" in self.powers else b"CLOSE"

    def _why_refused(self, ref: str, answer: Answer) -> MailError:
        """Tell a folder that is gone from one that is refused: by its code, else by asking LIST for it."""
        error = refusal(answer.status, answer.text, asked=f"EXAMINE {ref}", stage=None)
        if answer.status != b"NO" or response_code(answer.text)[0] or isinstance(error, FolderGone):
            return error
        return error if is_listed(self._wire, ref) else FolderGone(str(error))

    def _reopen(self, ref: str) -> None:
        """Open a folder unless it is open. Raises Transient when its UIDs became void since `changes` told them."""
        if self._selected == ref:
            return
        now = self._select(ref)
        known = self._known.get(ref)
        if known is not None and known.uidvalidity != now.uidvalidity:
            raise Transient(f"{ref}: UIDVALIDITY changed from {known.uidvalidity} to {now.uidvalidity}", retry_after=0)
