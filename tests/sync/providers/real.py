"""The hand of the contract on a real server, and the way to log in to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sync.providers.base import Login, Security
from tests.servers.mailbox import Mailbox, MailUser


def login_to(user: MailUser, *, security: Security = "none", timeout: float = 30.0) -> Login:
    """Return the Login of a test server's user."""
    port = user.tls_port if security == "tls" else user.port
    assert port is not None
    return Login(
        "imap",
        user.host,
        port,
        security,
        user.username,
        user.password,
        verify_certificates=False,
        private_networks=("127.0.0.0/8",),
        timeout=timeout,
    )


class RealHand:
    """Changes a mailbox of a real server through imaplib. `prefix`: the levels above every folder but INBOX."""

    def __init__(self, box: Mailbox, *, prefix: tuple[str, ...] = (), delimiter: str = "/") -> None:
        self._box, self._prefix, self._delimiter = box, prefix, delimiter

    def ref(self, *levels: str) -> str:
        return self._delimiter.join((*self._prefix, *levels))

    def append(self, ref: str, raw: bytes, flags: Sequence[str] = (), date: datetime | None = None) -> str:
        return str(self._box.append(ref, raw, flags, date))

    def copy(self, ref: str, uid: str, target: str) -> str:
        return str(self._box.copy(ref, int(uid), target)[int(uid)])

    def move(self, ref: str, uid: str, target: str) -> str:
        return str(self._box.move(ref, int(uid), target)[int(uid)])

    def flag(self, ref: str, uid: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self._box.flag(ref, int(uid), add=add, remove=remove)

    def expunge(self, ref: str, uid: str) -> None:
        self._box.expunge(ref, int(uid))

    def create(self, ref: str) -> None:
        self._box.create(ref)

    def rename(self, ref: str, to: str) -> None:
        self._box.rename(ref, to)

    def delete(self, ref: str) -> None:
        self._box.delete(ref)

    def bump_uidvalidity(self, ref: str) -> None:
        self._box.bump_uidvalidity(ref)

    def held(self, ref: str) -> dict[str, tuple[frozenset[str], bytes]]:
        return {str(uid): (one.flags, one.raw) for uid, one in self._box.messages(ref).items()}
