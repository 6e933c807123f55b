"""The reference provider: a mailbox in memory, and a session on it that keeps every promise of `base.py`.

For tests of what is built on providers. `MemoryServer` is the mailbox and the hand that changes it; it can be told
to misbehave. A `Login` with provider "memory" reaches the server registered under its host.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from pathlib import Path
from types import TracebackType
from typing import Self

from sync.errors import BadCredentials, FolderGone, MailError, ServerMisbehaved, Unreachable
from sync.providers.base import (
    LARGE_MESSAGE,
    Cursor,
    Fingerprint,
    FolderDelta,
    FolderListing,
    FolderStatus,
    Login,
    News,
    RemoteFolder,
    RemoteMessage,
    Role,
)

DELIMITER = "/"
_ROLES: dict[str, Role] = {
    "INBOX": "inbox",
    "Sent": "sent",
    "Drafts": "drafts",
    "Trash": "trash",
    "Junk": "junk",
    "Archive": "archive",
}
_servers: dict[str, MemoryServer] = {}


@dataclass(slots=True)
class _Stored:
    """A message in a folder; `modseq`: of its arrival or last change of flags."""

    raw: bytes
    flags: frozenset[str]
    internal_date: datetime
    modseq: int


@dataclass(slots=True)
class _Folder:
    mailbox_id: str
    uidvalidity: int
    uidnext: int = 1
    highestmodseq: int = 1
    messages: dict[int, _Stored] = field(default_factory=dict)

    def next_modseq(self) -> int:
        self.highestmodseq += 1
        return self.highestmodseq

    def add(self, raw: bytes, flags: Iterable[str], internal_date: datetime) -> int:
        uid = self.uidnext
        self.uidnext += 1
        self.messages[uid] = _Stored(raw, frozenset(flags), internal_date, self.next_modseq())
        return uid


class MemoryServer:
    """A mailbox under the name `host`, as a context manager: gone at the end. Safe to use from several threads.

    `condstore`: False makes sessions read everything again, as from a server without modification sequences.
    """

    def __init__(
        self,
        host: str = "memory",
        *,
        username: str = "alice",
        password: str = "secret",  # noqa: S107  # it opens nothing but this
        condstore: bool = True,
    ) -> None:
        self.host, self.username, self.password, self.condstore = host, username, password, condstore
        self.lock = threading.Condition()
        #: Names of methods of sessions, in the order called; for tests that count round trips.
        self.calls: list[str] = []
        self._folders: dict[str, _Folder] = {}
        self._numbers = 1000
        self._failures: dict[str, deque[MailError]] = defaultdict(deque)
        self._empty_once: set[str] = set()
        self._list_empty_once = False
        for name in _ROLES:
            self.create_folder(name)

    def __enter__(self) -> Self:
        _servers[self.host] = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _servers.pop(self.host, None)

    def login(self) -> Login:
        """Return a Login that opens a session on this server."""
        return Login("memory", self.host, 143, "none", self.username, self.password)

    # Messages

    def append(self, folder: str, raw: bytes, flags: Iterable[str] = (), date: datetime | None = None) -> str:
        """Put a message into a folder and return its id. `date`: when it was received, aware; None: now."""
        with self._changing():
            moment = date or datetime.now(UTC).replace(microsecond=0)
            return str(self.folder(folder).add(raw, flags, moment))

    def copy(self, folder: str, uid: str, target: str) -> str:
        """Copy a message and return the id of the copy."""
        with self._changing():
            message = self.folder(folder).messages[int(uid)]
            return str(self.folder(target).add(message.raw, message.flags, message.internal_date))

    def move(self, folder: str, uid: str, target: str) -> str:
        """Move a message and return its id in `target`."""
        with self._changing():
            moved = self.copy(folder, uid, target)
            self.expunge(folder, uid)
            return moved

    def expunge(self, folder: str, *uids: str) -> None:
        """Delete messages for good."""
        with self._changing():
            for uid in uids:
                del self.folder(folder).messages[int(uid)]
                self.folder(folder).next_modseq()

    def flag(self, folder: str, uid: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Set and clear flags of a message; nothing happens when it has them so already."""
        with self._changing():
            message = self.folder(folder).messages[int(uid)]
            flags = (message.flags | frozenset(add)) - frozenset(remove)
            if flags != message.flags:
                message.flags, message.modseq = flags, self.folder(folder).next_modseq()

    def messages(self, folder: str) -> dict[str, RemoteMessage]:
        """Tell what a folder holds, by id; raw in memory whatever its size."""
        with self.lock:
            held = self.folder(folder).messages
            return {
                str(uid): RemoteMessage(str(uid), one.flags, one.internal_date, len(one.raw), one.raw)
                for uid, one in held.items()
            }

    # Folders

    def folder(self, name: str) -> _Folder:
        """Return a folder; raises FolderGone. What it returns is not part of the interface."""
        try:
            return self._folders[name]
        except KeyError:
            raise FolderGone(f"no folder {name!r}") from None

    def folder_names(self) -> list[str]:
        """Return the names of all folders, sorted."""
        with self.lock:
            return sorted(self._folders)

    def create_folder(self, name: str) -> None:
        """Create a folder, and those above it. Raises ValueError when it is there."""
        with self._changing():
            if name in self._folders:
                raise ValueError(f"{name!r} exists")
            parent = name.rpartition(DELIMITER)[0]
            if parent and parent not in self._folders:
                self.create_folder(parent)
            number = self._next_number()
            self._folders[name] = _Folder(f"F{number}", number)

    def rename_folder(self, name: str, to: str) -> None:
        """Rename a folder, and with it those below; ids of messages and of folders stay."""
        with self._changing():
            self.folder(name)
            if to in self._folders:
                raise ValueError(f"{to!r} exists")
            below = name + DELIMITER
            moved = {old: to + old[len(name) :] for old in self._folders if old == name or old.startswith(below)}
            self._folders = {moved.get(old, old): folder for old, folder in self._folders.items()}

    def delete_folder(self, name: str) -> None:
        """Delete a folder with its messages."""
        with self._changing():
            self.folder(name)
            del self._folders[name]

    def bump_uidvalidity(self, name: str) -> None:
        """Give a folder a new UIDVALIDITY and its messages new ids, in another order than before."""
        with self._changing():
            folder = self.folder(name)
            kept = list(folder.messages.values())
            folder.uidvalidity, folder.uidnext, folder.messages = self._next_number(), 1, {}
            for message in reversed(kept):
                folder.add(message.raw, message.flags, message.internal_date)

    # Misbehaving

    def fail_next(self, method: str, error: MailError) -> None:
        """Make the next call of a session's `method` raise `error`; "connect" is one, "fetch" fails midway."""
        self._failures[method].append(error)

    def answer_empty_once(self, name: str) -> None:
        """Make the next `changes` of a folder find it empty, although it is not."""
        self._empty_once.add(name)

    def list_nothing_once(self) -> None:
        """Make the next listing of folders come back empty."""
        self._list_empty_once = True

    def lower_modseq(self, name: str, by: int = 1) -> None:
        """Let HIGHESTMODSEQ go down, as after a backup was restored."""
        with self._changing():
            folder = self.folder(name)
            folder.highestmodseq = max(1, folder.highestmodseq - by)
            for message in folder.messages.values():
                message.modseq = min(message.modseq, folder.highestmodseq)

    # For sessions

    def called(self, method: str) -> None:
        """Note a call, and fail it when a test asked for that."""
        self.calls.append(method)
        if self._failures[method]:
            raise self._failures[method].popleft()

    def takes_empty(self, name: str) -> bool:
        """True once after `answer_empty_once`."""
        found = name in self._empty_once
        self._empty_once.discard(name)
        return found

    def listed(self) -> dict[str, _Folder]:
        """Return the folders as LIST would tell them. Raises ServerMisbehaved once after `list_nothing_once`."""
        if self._list_empty_once:
            self._list_empty_once = False
            raise ServerMisbehaved("LIST names no folder at all, not even INBOX", stage="list")
        return dict(self._folders)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the mailbox, and wake whoever waits for changes at the end."""
        with self.lock:
            yield
            self.lock.notify_all()

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers


def connect(login: Login) -> MemorySession:
    """Open a session on the server registered under `login.host`. Raises Unreachable, BadCredentials."""
    server = _servers.get(login.host)
    if server is None:
        raise Unreachable(f"no memory server {login.host!r}", stage="resolve")
    server.called("connect")
    if (login.username, login.password) != (server.username, server.password):
        raise BadCredentials("the memory server refuses this password", stage="login")
    return MemorySession(server)


class MemorySession:
    """One login; see `MailSession` and `CanWatch`."""

    def __init__(self, server: MemoryServer) -> None:
        self.powers = frozenset({"CONDSTORE", "OBJECTID"}) if server.condstore else frozenset({"OBJECTID"})
        self._server = server
        self._closed = False
        self._heard: dict[str, tuple[int, int, int]] = {}

    def folders(self) -> FolderListing:
        """List all folders."""
        with self._asking("folders"):
            folders = self._server.listed()
            listed = tuple(_describe(name, folder) for name, folder in folders.items())
            return FolderListing(listed, {name: self._status(folder) for name, folder in folders.items()})

    def status(self, refs: Sequence[str]) -> Mapping[str, FolderStatus]:
        """Tell the status of those that exist."""
        with self._asking("status"):
            folders = self._server.listed()
            return {ref: self._status(folders[ref]) for ref in refs if ref in folders}

    def changes(self, ref: str, cursor: Cursor | None, *, relist: bool) -> FolderDelta:
        """Compare one folder with `cursor`, in the ways of `imap_changes`."""
        with self._asking("changes"):
            folder = self._server.folder(ref)
            held = {} if self._server.takes_empty(ref) else folder.messages
            now = {
                "uidvalidity": folder.uidvalidity,
                "uidnext": folder.uidnext,
                "modseq": folder.highestmodseq if self._server.condstore else None,
                "exists": len(held),
            }
            if cursor is None or cursor["uidvalidity"] != folder.uidvalidity:
                return FolderDelta({}, _ids(held), frozenset(), now, reset=cursor is not None)
            if now["modseq"] is None or cursor["modseq"] is None or folder.highestmodseq < cursor["modseq"]:
                seen = {str(uid): one.flags for uid, one in held.items()}
                return FolderDelta(seen, _ids(held), frozenset(), now)
            seen = {str(uid): one.flags for uid, one in held.items() if one.modseq > cursor["modseq"]}
            arrived = sum(1 for uid in held if uid >= cursor["uidnext"])
            adds_up = len(held) == cursor["exists"] + arrived and not relist
            return FolderDelta(seen, None if adds_up else _ids(held), frozenset(), now)

    def unchanged(self, cursor: Cursor, status: FolderStatus) -> bool:
        """True when nothing differs; without CONDSTORE never."""
        proof = (status.uidvalidity, status.uidnext, status.highestmodseq, status.messages)
        known = (cursor["uidvalidity"], cursor["uidnext"], cursor["modseq"], cursor["exists"])
        return None not in proof and proof == known

    def fingerprints(self, ref: str, ids: Sequence[str], *, message_ids: bool) -> Sequence[Fingerprint]:
        """Describe those that exist."""
        with self._asking("fingerprints"):
            held = self._server.folder(ref).messages
            return [_fingerprint(uid, held[int(uid)], message_ids) for uid in ids if int(uid) in held]

    def fetch(self, ref: str, ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """Yield those that exist; `fail_next("fetch", …)` strikes halfway."""
        with self._asking("open"):
            self._server.folder(ref)
        for place, uid in enumerate(ids):
            if place == len(ids) // 2:
                with self._asking("fetch"):
                    pass
            with self._server.lock:
                message = self._server.folder(ref).messages.get(int(uid))
            if message is not None:
                yield _deliver(uid, message)

    @property
    def hears_all(self) -> bool:
        """Every change is heard of."""
        return True

    def watch(self, *, seconds: float) -> Generator[News, None, None]:
        """Yield which folders differ from what was heard before, for `seconds`."""
        ends = time.monotonic() + seconds
        while True:
            with self._asking("watch"):
                left = max(0.0, ends - time.monotonic())
                self._server.lock.wait_for(lambda: self._closed or self._all_marks() != self._heard, left)
                before, self._heard = self._heard, self._all_marks()
            if before == self._heard:
                return
            differing = {ref for ref, marks in self._heard.items() if before.get(ref) != marks}
            yield News(frozenset(differing), listing=before.keys() != self._heard.keys())

    def close(self) -> None:
        """End the session."""
        self._closed = True

    def _all_marks(self) -> dict[str, tuple[int, int, int]]:
        folders = self._server.listed()
        return {ref: (one.uidvalidity, one.highestmodseq, len(one.messages)) for ref, one in folders.items()}

    @contextmanager
    def _asking(self, method: str) -> Iterator[None]:
        """Hold the mailbox still during one call; the session is dead after an error that says so."""
        if self._closed:
            raise Unreachable("the session is closed")
        with self._server.lock:
            try:
                self._server.called(method)
                yield
            except (Unreachable, ServerMisbehaved):
                self._closed = True
                raise

    def _status(self, folder: _Folder) -> FolderStatus:
        return FolderStatus(
            messages=len(folder.messages),
            unseen=sum("\\Seen" not in one.flags for one in folder.messages.values()),
            uidnext=folder.uidnext,
            uidvalidity=folder.uidvalidity,
            highestmodseq=folder.highestmodseq if self._server.condstore else None,
        )


def _describe(name: str, folder: _Folder) -> RemoteFolder:
    return RemoteFolder(
        ref=name,
        levels=tuple(name.split(DELIMITER)),
        delimiter=DELIMITER,
        attributes=(),
        role=_ROLES.get(name),
        stable_id=folder.mailbox_id,
        stable_id_is_unique=True,
    )


def _ids(held: Mapping[int, _Stored]) -> frozenset[str]:
    return frozenset(map(str, held))


def _fingerprint(uid: str, message: _Stored, message_ids: bool) -> Fingerprint:
    message_id = None
    if message_ids:
        headers = BytesHeaderParser().parsebytes(message.raw)
        message_id = str(headers.get("Message-ID", "")).strip().strip("<>") or None
    return Fingerprint(uid, message.flags, len(message.raw), message.internal_date, message_id)


def _deliver(uid: str, message: _Stored) -> RemoteMessage:
    size = len(message.raw)
    if size <= LARGE_MESSAGE:
        return RemoteMessage(uid, message.flags, message.internal_date, size, message.raw)
    with tempfile.NamedTemporaryFile(prefix="mailmirror-", suffix=".eml", delete=False) as spool:
        spool.write(message.raw)
    return RemoteMessage(uid, message.flags, message.internal_date, size, None, Path(spool.name))
