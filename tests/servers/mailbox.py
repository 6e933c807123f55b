"""A client that shares nothing with our providers: the standard library's imaplib, to change and to read a mailbox.

Folder names are whole paths as the server spells them, decoded ("Archive/Été"; on Courier "INBOX.Archive.Été").
Every method opens the folder anew, so what other sessions did in between is seen.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: Seconds any single answer may take.
TIMEOUT = 30.0


class Refused(Exception):
    """The server answered NO or BAD."""


@dataclass(frozen=True, slots=True)
class MailUser:
    """All that is needed to log in to one mailbox of a test server on `host`.

    `port` speaks plain text and STARTTLS; `tls_port` TLS from the start, None where the server offers none;
    `certificate` is the PEM file to trust, None where there is none.
    """

    username: str
    password: str
    host: str
    port: int
    tls_port: int | None
    certificate: Path | None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the server holds it. Flags without \\Recent, which belongs to the session that reads them."""

    uid: int
    flags: frozenset[str]
    internal_date: datetime
    raw: bytes


Uids = int | Iterable[int]


class Mailbox:
    """One logged-in session. Not shared between threads; a context manager that logs out."""

    def __init__(self, user: MailUser) -> None:
        self.user = user
        self._imap = self._log_in()

    def _log_in(self) -> imaplib.IMAP4:
        imap = imaplib.IMAP4(self.user.host, self.user.port, timeout=TIMEOUT)
        # imaplib writes a literal and the line end after it apart; Nagle would hold the second back for 40 ms
        imap.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect(imap.login(self.user.username, self.user.password))
        return imap

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log out; the connection may be dead already."""
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self._imap.logout()
        with contextlib.suppress(OSError):
            self._imap.shutdown()

    @cached_property
    def powers(self) -> frozenset[str]:
        """The capabilities offered after login, upper case."""
        return frozenset(_bytes(self._expect(self._imap.capability())[0]).decode().upper().split())

    # Messages

    def append(self, folder: str, raw: bytes, flags: Iterable[str] = (), date: datetime | None = None) -> int:
        """Put a message into a folder and return its UID. `date`: INTERNALDATE, aware; None: now."""
        arguments = [mailbox_name(folder), f"({' '.join(flags)})"]
        if date is not None:
            arguments.append(imaplib.Time2Internaldate(date))
        # as imaplib's append does it, which would make CRLF of every bare CR and LF
        setattr(self._imap, "literal", raw)  # noqa: B010  # the stubs take it for text
        self._expect(self._imap.xatom("APPEND", *arguments))
        return int(self._code("APPENDUID").split()[1])

    def copy(self, folder: str, uids: Uids, target: str) -> dict[int, int]:
        """Copy messages; return UID here -> UID there (RFC 4315)."""
        self.select(folder)
        self._expect(self._imap.uid("COPY", uid_set(uids), mailbox_name(target)))
        return self._copied()

    def move(self, folder: str, uids: Uids, target: str) -> dict[int, int]:
        """Move messages, by MOVE (RFC 6851) or, where the server has none, by COPY and EXPUNGE."""
        if "MOVE" not in self.powers:
            moved = self.copy(folder, uids, target)
            self.expunge(folder, moved)
            return moved
        self.select(folder)
        self._expect(self._imap.uid("MOVE", uid_set(uids), mailbox_name(target)))
        return self._copied()

    def flag(self, folder: str, uids: Uids, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Set and clear flags of messages."""
        self.select(folder)
        for sign, flags in (("+", tuple(add)), ("-", tuple(remove))):
            if flags:
                self._expect(self._imap.uid("STORE", uid_set(uids), f"{sign}FLAGS.SILENT", f"({' '.join(flags)})"))

    def expunge(self, folder: str, uids: Uids) -> None:
        """Delete messages for good, and no others (RFC 4315)."""
        self.flag(folder, uids, add=[r"\Deleted"])
        self._expect(self._imap.uid("EXPUNGE", uid_set(uids)))

    def messages(self, folder: str) -> dict[int, StoredMessage]:
        """Read every message of a folder whole, by UID, without marking any as read."""
        found = self._fetch(folder, "(UID FLAGS INTERNALDATE BODY.PEEK[])")
        return {uid: StoredMessage(uid, _flags(facts), _date(facts), raw) for uid, (facts, raw) in found.items()}

    def flags(self, folder: str) -> dict[int, frozenset[str]]:
        """Tell the flags of every message of a folder, by UID, without \\Recent."""
        return {uid: _flags(facts) for uid, (facts, _) in self._fetch(folder, "(UID FLAGS)").items()}

    def uids(self, folder: str) -> list[int]:
        """Tell the UIDs of a folder, ascending."""
        self.select(folder)
        return sorted(map(int, _bytes(self._expect(self._imap.uid("SEARCH", "ALL"))[0]).split()))

    def _fetch(self, folder: str, what: str) -> dict[int, tuple[bytes, bytes]]:
        """Ask `what` of all messages; return UID -> what stands outside the literal, and the literal."""
        if not self.select(folder):
            return {}
        found: dict[int, tuple[bytes, bytes]] = {}
        for facts, raw in _responses(self._expect(self._imap.fetch("1:*", what))):
            if uid := re.search(rb"\bUID (\d+)", facts):
                found[int(uid[1])] = (facts, raw)
        return found

    def _copied(self) -> dict[int, int]:
        """Read COPYUID, which comes before or in the tagged answer; empty when nothing was copied."""
        _, source, target = self._code("COPYUID").split() or (b"", b"", b"")
        return dict(zip(_expanded(source), _expanded(target), strict=True))

    # Folders

    def select(self, folder: str) -> int:
        """Open a folder to read and write; return how many messages it holds."""
        return int(_bytes(self._expect(self._imap.select(mailbox_name(folder)))[0]))

    def folders(self) -> list[str]:
        """List every folder that can hold messages, sorted."""
        listed = (_listed(facts, literal) for facts, literal in _responses(self._expect(self._imap.list('""', "*"))))
        return sorted(name for name in listed if name is not None)

    def create(self, folder: str) -> None:
        """Create a folder and whatever is missing above it."""
        self._expect(self._imap.create(mailbox_name(folder)))

    def rename(self, folder: str, to: str) -> None:
        """Rename a folder, and with it those below."""
        self._leave()
        self._expect(self._imap.rename(mailbox_name(folder), mailbox_name(to)))

    def delete(self, folder: str) -> None:
        """Delete a folder and its messages."""
        self._leave()
        self._expect(self._imap.delete(mailbox_name(folder)))

    def status(self, folder: str, item: str) -> int:
        """Tell one number of a folder without opening it: MESSAGES, UIDVALIDITY, UIDNEXT, HIGHESTMODSEQ, ..."""
        self._leave()
        answer = _responses(self._expect(self._imap.status(mailbox_name(folder), f"({item})")))
        found = re.search(rb"\b" + item.encode() + rb" (\d+)", answer[0][0])
        assert found, answer
        return int(found[1])

    def bump_uidvalidity(self, folder: str) -> None:
        """Give a folder a new UIDVALIDITY; same messages, flags and dates under new UIDs.

        By deleting and creating it, so not for INBOX, nor for a folder with others below it.
        """
        before, kept = self.status(folder, "UIDVALIDITY"), self.messages(folder)
        while self.status(folder, "UIDVALIDITY") == before:
            self.delete(folder)
            # servers take the number from the clock, in whole seconds
            time.sleep(0.2)
            self.create(folder)
        for message in kept.values():
            self.append(folder, message.raw, sorted(message.flags), message.internal_date)

    def _leave(self) -> None:
        """Close the folder that is open: some servers do not delete it, or answer STATUS of it from memory."""
        if self._imap.state != "SELECTED":
            return
        if "UNSELECT" in self.powers:
            self._expect(self._imap.unselect())
        else:
            # CLOSE would expunge; after EXAMINE it does not
            self._expect(self._imap.select("INBOX", readonly=True))
            self._expect(self._imap.close())

    def _code(self, name: str) -> bytes:
        """Return what came with a response code in the last answer; empty when there was none."""
        values = self._imap.response(name)[1]
        return _bytes(values[-1]) if values else b""

    @staticmethod
    def _expect(answer: tuple[str, list[Any]]) -> list[Any]:
        """Return what came with an OK. Raises Refused."""
        kind, data = answer
        if kind != "OK":
            raise Refused(f"{kind} {data!r}")
        return data


def mailbox_name(folder: str) -> str:
    """Write a folder name as IMAP4rev1 wants it: modified UTF-7 (RFC 3501 5.1.3), quoted."""
    return quoted(re.sub("[^ -~]+|&", _shifted, folder))


def _shifted(text: re.Match[str]) -> str:
    if text[0] == "&":
        return "&-"
    return "&" + base64.b64encode(text[0].encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"


def folder_name(name: str) -> str:
    """Decode modified UTF-7 (RFC 3501 5.1.3)."""
    return re.sub("&([^-]*)-", _unshifted, name)


def _unshifted(shifted: re.Match[str]) -> str:
    if not shifted[1]:
        return "&"
    padded = shifted[1].replace(",", "/") + "=" * (-len(shifted[1]) % 4)
    return base64.b64decode(padded).decode("utf-16-be")


def quoted(text: str) -> str:
    """Write a quoted string (RFC 3501 4.3); line ends cannot stand in one."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def uid_set(uids: Uids) -> str:
    """Write UIDs as a set."""
    return str(uids) if isinstance(uids, int) else ",".join(map(str, uids))


def _expanded(ranges: bytes) -> list[int]:
    """Read a set of UIDs in the order given: COPYUID pairs them by place."""
    uids: list[int] = []
    for part in filter(None, ranges.split(b",")):
        first, _, last = part.partition(b":")
        step = 1 if int(last or first) >= int(first) else -1
        uids.extend(range(int(first), int(last or first) + step, step))
    return uids


def _bytes(value: object) -> bytes:
    """Tell imaplib's types apart: None stands for an empty answer."""
    return value if isinstance(value, bytes) else b""


def _responses(data: Sequence[object]) -> list[tuple[bytes, bytes]]:
    """Put together what imaplib has split at literals: what stands outside the (last) literal, and the literal."""
    found: list[tuple[bytes, bytes]] = []
    facts, literal, split = b"", b"", False
    for piece in data:
        if isinstance(piece, tuple):
            facts, literal, split = facts + piece[0] + b" ", piece[1], True
        elif isinstance(piece, bytes):
            found.append((facts + piece, literal))
            facts, literal, split = b"", b"", False
    assert not split, data
    return found


def _flags(facts: bytes) -> frozenset[str]:
    found = re.search(rb"\bFLAGS \(([^)]*)\)", facts)
    return frozenset(found[1].decode().split() if found else ()) - {r"\Recent"}


def _date(facts: bytes) -> datetime:
    found = re.search(rb'\bINTERNALDATE "([^"]+)"', facts)
    assert found, facts
    return datetime.strptime(found[1].decode().strip(), "%d-%b-%Y %H:%M:%S %z")


def _listed(facts: bytes, literal: bytes) -> str | None:
    """Read a LIST response; None: not selectable."""
    found = re.match(rb'\(([^)]*)\) (?:"(?:\\.|[^"])*"|NIL) (.*)', facts, re.DOTALL)
    if not found or re.search(rb"\\(Noselect|NonExistent)", found[1], re.IGNORECASE):
        return None
    name = literal or found[2].strip()
    if not literal and name.startswith(b'"'):
        name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
    return folder_name(name.decode())
