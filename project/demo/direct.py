"""The mail of a server, changed behind its clients' backs: what tests do instead of a second client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TypeVar

from project.demo.store import Mailbox, Store

_T = TypeVar("_T")


class DirectAccess:
    """Changes to the store of the first user. Mailboxes are named by decoded text; IDLE clients hear at once."""

    store: Store

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function where the store lives."""
        raise NotImplementedError

    def _mailbox(self, name: str) -> Mailbox:
        return self.store.mailbox(name)

    def append(
        self,
        folder: str,
        raw: bytes,
        flags: Iterable[str] = (),
        received: datetime | None = None,
        *,
        create: bool = True,
    ) -> int:
        """Let a mail arrive; return its UID. Makes the folder unless told not to."""

        def do() -> int:
            if create and self.store.get(folder) is None:
                self.store.create(folder)
            return self._mailbox(folder).append(raw, flags, received).uid

        return self.call(do)

    def expunge(self, folder: str, *uids: int) -> None:
        """Remove messages."""
        self.call(lambda: self._mailbox(folder).expunge(uids))

    def move(self, folder: str, uids: Iterable[int], target: str) -> list[int]:
        """Move messages; return their new UIDs."""
        return self.call(lambda: self.store.move(self._mailbox(folder), list(uids), self._mailbox(target)))

    def copy(self, folder: str, uids: Iterable[int], target: str) -> list[int]:
        """Copy messages; return the UIDs of the copies."""
        return self.call(lambda: self.store.copy(self._mailbox(folder), list(uids), self._mailbox(target)))

    def set_flags(self, folder: str, uid: int, *flags: str) -> None:
        """Give a message exactly these flags."""
        self.call(lambda: self._mailbox(folder).set_flags(uid, flags))

    def add_flags(self, folder: str, uid: int, *flags: str) -> None:
        """Add flags to a message."""
        self.call(lambda: self._mailbox(folder).set_flags(uid, self._mailbox(folder).message(uid).flags | set(flags)))

    def remove_flags(self, folder: str, uid: int, *flags: str) -> None:
        """Take flags from a message."""
        self.call(lambda: self._mailbox(folder).set_flags(uid, self._mailbox(folder).message(uid).flags - set(flags)))

    def create(self, folder: str, *, role: str | None = None) -> None:
        """Make a mailbox, with a SPECIAL-USE attribute such as `\\Sent`."""
        self.call(lambda: self.store.create(folder, role=role))

    def delete(self, folder: str) -> None:
        """Delete a mailbox with its mail."""
        self.call(lambda: self.store.delete(folder))

    def rename(self, folder: str, new: str) -> None:
        """Rename a mailbox with all below it."""
        self.call(lambda: self.store.rename(folder, new))

    def bump_uidvalidity(self, folder: str) -> int:
        """Number a mailbox anew under another UIDVALIDITY, and return that; sessions in it are cut."""

        def do() -> int:
            mailbox = self._mailbox(folder)
            mailbox.renumber(self.store.next_uidvalidity())
            return mailbox.uidvalidity

        return self.call(do)

    def lower_modseq(self, folder: str, highest: int) -> None:
        """Let HIGHESTMODSEQ fall, as after a restored backup."""
        self.call(lambda: self._mailbox(folder).lower_modseq(highest))

    def folders(self) -> list[str]:
        """Return the names of all mailboxes that hold messages."""
        return self.call(lambda: [name for name in self.store.names() if self.store.mailbox_or_none(name)])

    def messages(self, folder: str) -> Mapping[int, tuple[frozenset[str], bytes]]:
        """Return UID -> (flags, raw) of everything in a mailbox."""
        return self.call(lambda: {uid: (m.flags, m.raw) for uid, m in self._mailbox(folder).messages.items()})
