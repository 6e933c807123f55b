"""What one session knows of its selected mailbox: message numbers, and what it has still to be told."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from project.demo.store import Mailbox, Message


class View:
    """A selected mailbox as one client sees it (RFC 3501 7.4.1: numbers change only when it is told so)."""

    def __init__(self, mailbox: Mailbox, *, writable: bool, empty: bool = False) -> None:
        self.mailbox = mailbox
        self.writable = writable
        #: The misbehaviour "says it is empty": nothing of the mailbox shows in this view.
        self.pretends_empty = empty
        #: Position in this list + 1 is the message number.
        self.uids: list[int] = [] if empty else list(mailbox.messages)
        self._uidvalidity = mailbox.uidvalidity
        self._uidnext = mailbox.uidnext
        self._modseq = mailbox.modseq
        self._expunged = len(mailbox.expunged)
        #: uid -> modseq of changes that the client made itself and knows of.
        self._known: dict[int, int] = {}

    @property
    def stale(self) -> bool:
        """True when the mailbox was deleted or got another UIDVALIDITY: the view means nothing any more."""
        return not self.mailbox.selectable or self._uidvalidity != self.mailbox.uidvalidity

    def number(self, uid: int) -> int:
        """Return the message number of a UID in the view."""
        return bisect_left(self.uids, uid) + 1

    def message(self, uid: int) -> Message | None:
        """Return the message, or None when it is gone although the client was not told yet."""
        return self.mailbox.messages.get(uid)

    def know(self, message: Message) -> None:
        """Note that the client knows the present flags of a message."""
        self._known[message.uid] = message.modseq

    def expunges(self) -> Iterator[int]:
        """Yield the numbers of messages that went, each as it is at its turn, and forget them."""
        gone = self.mailbox.expunged[self._expunged :]
        self._expunged = len(self.mailbox.expunged)
        for uid in sorted(set(gone), reverse=True):
            at = bisect_left(self.uids, uid)
            if at < len(self.uids) and self.uids[at] == uid:
                del self.uids[at]
                yield at + 1

    def arrivals(self) -> bool:
        """Take new messages into the view; True when there were some."""
        if self.pretends_empty or self._uidnext == self.mailbox.uidnext:
            return False
        fresh = [uid for uid in range(self._uidnext, self.mailbox.uidnext) if uid in self.mailbox.messages]
        self._uidnext = self.mailbox.uidnext
        self.uids.extend(fresh)
        for uid in fresh:
            self.know(self.mailbox.messages[uid])
        return bool(fresh)

    def changes(self) -> Iterator[Message]:
        """Yield messages whose flags changed since the client was last told, and note that it is told now."""
        since, self._modseq = min(self._modseq, self.mailbox.modseq), self.mailbox.modseq
        known, self._known = self._known, {}
        if since == self.mailbox.modseq:
            return
        for uid in list(self.uids):
            message = self.mailbox.messages.get(uid)
            if message is not None and message.modseq > since and known.get(uid) != message.modseq:
                yield message
