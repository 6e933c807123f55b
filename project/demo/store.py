"""The mail itself: messages, mailboxes and one user's tree of mailboxes, in memory.

Everything here runs in the server's own thread. Numbers follow RFC 3501 2.3.1 (UID, UIDVALIDITY) and RFC 7162 (MODSEQ).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from project.demo.names import canonical_name, parents


class Refused(Exception):
    """The command is understood and will not be done: answered NO. The message may begin with a [CODE]."""


@dataclass(slots=True)
class Message:
    """One copy of a mail in one mailbox."""

    uid: int
    raw: bytes
    flags: frozenset[str]
    #: INTERNALDATE, aware.
    received: datetime
    modseq: int


class Mailbox:
    """Messages in the order of their UIDs; each change raises `modseq` and wakes the watchers."""

    def __init__(self, name: str, uidvalidity: int, *, role: str | None = None) -> None:
        self.name = name
        self.uidvalidity = uidvalidity
        self.uidnext = 1
        #: HIGHESTMODSEQ.
        self.modseq = 1
        #: RFC 6154, such as `\\Sent`.
        self.role = role
        self.subscribed = True
        #: False: a name that only holds children (\\Noselect).
        self.selectable = True
        self.messages: dict[int, Message] = {}
        #: UIDs that were expunged, in order.
        self.expunged: list[int] = []
        #: Called after each change, without arguments.
        self.watchers: set[Callable[[], None]] = set()

    def append(self, raw: bytes, flags: Iterable[str] = (), received: datetime | None = None) -> Message:
        """Add a mail under the next UID."""
        self.modseq += 1
        moment = received or datetime.now(UTC)
        message = Message(self.uidnext, raw, frozenset(flags), moment, self.modseq)
        self.messages[message.uid] = message
        self.uidnext += 1
        self.wake()
        return message

    def set_flags(self, uid: int, flags: Iterable[str]) -> Message:
        """Give a message these flags. Its MODSEQ stays where they are the same. Raises Refused for an unknown UID."""
        message = self.message(uid)
        wanted = frozenset(flags)
        if wanted != message.flags:
            self.modseq += 1
            message.flags = wanted
            message.modseq = self.modseq
            self.wake()
        return message

    def message(self, uid: int) -> Message:
        """Return one message. Raises Refused."""
        if uid not in self.messages:
            raise Refused(f"[NONEXISTENT] No message {uid} in {self.name}")
        return self.messages[uid]

    def expunge(self, uids: Iterable[int]) -> list[int]:
        """Remove messages for good; return the UIDs that were there."""
        gone = [uid for uid in uids if self.messages.pop(uid, None) is not None]
        if gone:
            self.modseq += 1
            self.expunged.extend(gone)
            self.wake()
        return gone

    def renumber(self, uidvalidity: int) -> None:
        """Start anew under another UIDVALIDITY: the same messages, numbered from 1."""
        self.uidvalidity = uidvalidity
        messages = list(self.messages.values())
        self.messages = {}
        self.expunged = []
        self.uidnext = self.modseq = 1
        for message in messages:
            self.append(message.raw, message.flags, message.received)
        self.wake()

    def lower_modseq(self, highest: int) -> None:
        """Let HIGHESTMODSEQ fall, as after a restored backup; no message keeps a higher one."""
        self.modseq = highest
        for message in self.messages.values():
            message.modseq = min(message.modseq, highest)
        self.wake()

    def wake(self) -> None:
        """Tell everybody who watches that something changed."""
        for call in list(self.watchers):
            call()


class Store:
    """The mailboxes of one user. Names are decoded text, levels joined by `delimiter`."""

    def __init__(self, *, delimiter: str = "/", uidvalidity: int | None = None) -> None:
        self.delimiter = delimiter
        self._uidvalidities = itertools.count(uidvalidity or int(time.time()))
        self._mailboxes: dict[str, Mailbox] = {}
        self.create("INBOX")

    def names(self) -> list[str]:
        """Return all names, INBOX first, then in order of the alphabet."""
        return sorted(self._mailboxes, key=lambda name: (name != "INBOX", name))

    def is_empty(self) -> bool:
        """True when no mailbox holds a message."""
        return not any(mailbox.messages for mailbox in self._mailboxes.values())

    def get(self, name: str) -> Mailbox | None:
        """Return the mailbox of that name, if it exists."""
        return self._mailboxes.get(canonical_name(name, self.delimiter))

    def mailbox(self, name: str) -> Mailbox:
        """Return a mailbox that holds messages. Raises Refused."""
        found = self.mailbox_or_none(name)
        if found is None:
            raise Refused(f"[NONEXISTENT] Mailbox does not exist: {name!a}")
        return found

    def mailbox_or_none(self, name: str) -> Mailbox | None:
        """Return a mailbox that holds messages, if it exists."""
        found = self.get(name)
        return found if found is not None and found.selectable else None

    def create(self, name: str, *, role: str | None = None) -> Mailbox:
        """Make a mailbox and the names above it. Raises Refused where it exists."""
        name = canonical_name(name, self.delimiter)
        if not name or (name in self._mailboxes and self._mailboxes[name].selectable):
            raise Refused(f"[ALREADYEXISTS] Mailbox exists: {name!a}")
        for above in parents(name, self.delimiter):
            if above not in self._mailboxes:
                self._mailboxes[above] = Mailbox(above, self.next_uidvalidity())
        made = self._mailboxes[name] = Mailbox(name, self.next_uidvalidity(), role=role)
        return made

    def delete(self, name: str) -> None:
        """Remove a mailbox and its mail; a name with children stays as a bare level. Raises Refused."""
        gone = self.mailbox(name)
        if gone.name == "INBOX":
            raise Refused("[CANNOT] INBOX cannot be deleted")
        del self._mailboxes[gone.name]
        if self.children(gone.name):
            bare = self._mailboxes[gone.name] = Mailbox(gone.name, self.next_uidvalidity())
            bare.selectable = bare.subscribed = False
        gone.selectable = False
        gone.wake()

    def rename(self, old: str, new: str) -> None:
        """Rename a mailbox with all below it; of INBOX only the mail moves (RFC 3501 6.3.5). Raises Refused."""
        source = self.get(old)
        new = canonical_name(new, self.delimiter)
        if source is None:
            raise Refused(f"[NONEXISTENT] Mailbox does not exist: {old!a}")
        if self.get(new) is not None:
            raise Refused(f"[ALREADYEXISTS] Mailbox exists: {new!a}")
        if source.name == "INBOX":
            self.move(source, list(source.messages), self.create(new))
            return
        if f"{new}{self.delimiter}".startswith(f"{source.name}{self.delimiter}"):
            raise Refused("[CANNOT] A mailbox cannot be moved below itself")
        self._relocate(source.name, new)

    def _relocate(self, old: str, new: str) -> None:
        for above in parents(new, self.delimiter):
            if above not in self._mailboxes:
                self.create(above)
        for name in [old, *self.children(old)]:
            mailbox = self._mailboxes.pop(name)
            mailbox.name = new + name[len(old) :]
            self._mailboxes[mailbox.name] = mailbox

    def children(self, name: str) -> list[str]:
        """Return all names below `name`."""
        return [below for below in self._mailboxes if below.startswith(name + self.delimiter)]

    def copy(self, source: Mailbox, uids: Sequence[int], target: Mailbox) -> list[int]:
        """Copy messages with flags and dates; return their UIDs in the target, in the same order."""
        messages = [source.message(uid) for uid in uids]
        return [target.append(message.raw, message.flags, message.received).uid for message in messages]

    def move(self, source: Mailbox, uids: Sequence[int], target: Mailbox) -> list[int]:
        """Copy messages, then remove them from the source (RFC 6851); return their UIDs in the target."""
        copies = self.copy(source, uids, target)
        source.expunge(uids)
        return copies

    def next_uidvalidity(self) -> int:
        """Return a UIDVALIDITY that no mailbox of this store ever had."""
        return next(self._uidvalidities)

    def continue_uidvalidities(self) -> None:
        """Go on above every UIDVALIDITY in use, after mailboxes were restored with theirs."""
        highest = max(mailbox.uidvalidity for mailbox in self._mailboxes.values())
        self._uidvalidities = itertools.count(max(highest + 1, int(time.time())))
