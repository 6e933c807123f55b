"""The values that cross the border to a mail server, and what every provider can do.

A provider knows no Django and no models: it gets a `Login`, and answers with the frozen values below.
Sessions of all providers are checked by one contract suite, `tests/sync/providers/contract.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

#: JSON that only the provider understands; stored on SyncState, valid once the delta that brought it is committed.
Cursor = dict[str, Any]
#: RFC 6154 and RFC 3501 names without the backslash; what a folder is for.
Role = Literal["inbox", "sent", "drafts", "trash", "junk", "archive", "all"]
Security = Literal["tls", "starttls", "none"]


@dataclass(frozen=True, slots=True)
class Login:
    """All that is needed to log in to one mailbox. `repr` shows no secret."""

    provider: str
    host: str
    port: int
    security: Security
    username: str
    password: str = field(repr=False)
    #: False: certificates are not checked (`--insecure`).
    verify_certificates: bool = True
    #: CIDRs to which `host` may resolve although they are not public (ALLOWED_PRIVATE_NETWORKS).
    private_networks: tuple[str, ...] = ()
    #: Seconds any single wait for the server may take.
    timeout: float = 60.0
    #: time.monotonic() by which all work of the session must be done, connecting included; None: no such limit.
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder as the server lists it."""

    #: The provider's own name for it, opaque to everybody else: IMAP: the mailbox name, decoded.
    ref: str
    #: All levels, decoded, outermost first.
    levels: tuple[str, ...]
    #: Between levels on the server; None: flat.
    delimiter: str | None
    #: As the server spells them, for example `\\HasNoChildren`.
    attributes: tuple[str, ...]
    #: From SPECIAL-USE, or guessed from the name where the server tells nothing; at most one folder holds a role.
    role: Role | None
    #: False: \\Noselect, \\NonExistent.
    selectable: bool = True
    #: What stays when a folder is renamed (OBJECTID MAILBOXID, EWS FolderId; else UIDVALIDITY as text); None: unknown.
    stable_id: str | None = None
    #: The server gives that id to no other folder, ever; UIDVALIDITY may be another folder's too.
    stable_id_is_unique: bool = False


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What the server tells of a folder without opening it (IMAP STATUS); None where it tells nothing."""

    messages: int | None = None
    unseen: int | None = None
    uidnext: int | None = None
    uidvalidity: int | None = None
    highestmodseq: int | None = None


@dataclass(frozen=True, slots=True)
class FolderListing:
    """Every folder of the mailbox, with its status where one round trip brings it."""

    folders: tuple[RemoteFolder, ...]
    status: Mapping[str, FolderStatus]


@dataclass(frozen=True, slots=True)
class FolderDelta:
    """What changed in a folder since `cursor`.

    Ids are strings. An id of `present` (or, where that is None, of `seen`) that the caller does not hold is new to it.
    """

    #: remote id -> flags, for each message the server mentioned; a new message may be missing here (its flags
    #: come with `fetch`), a known message whose flags changed may not.
    seen: Mapping[str, frozenset[str]]
    #: Every id in the folder now: what the caller holds beside these has vanished. None: trust `vanished`.
    present: frozenset[str] | None
    #: Ids that are gone; empty where `present` tells it.
    vanished: frozenset[str]
    #: Valid only once this delta is committed, new messages included.
    cursor: Cursor
    #: Old ids are void (new UIDVALIDITY, lost sync state).
    reset: bool = False
    #: There is more: call again at once.
    more: bool = False


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Enough to recognise a message that is already mirrored, without its body."""

    remote_id: str
    flags: frozenset[str]
    #: Bytes of the raw message (RFC822.SIZE).
    size: int
    #: When the server received it (INTERNALDATE), UTC; None when it gives none.
    internal_date: datetime | None
    #: Without angle brackets; None: no usable Message-ID, or not asked for.
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteMessage:
    """A whole message. `raw` up to LARGE_MESSAGE bytes, else `spool` names a temporary file the receiver deletes."""

    remote_id: str
    flags: frozenset[str]
    internal_date: datetime | None
    size: int
    raw: bytes | None = field(repr=False)
    spool: Path | None = None


#: Bytes from which a message is never held in memory whole.
LARGE_MESSAGE = 1 << 20


class MailSession(Protocol):
    """One login to one mailbox. Not shared between greenlets or threads.

    Every method may raise any MailError; after Unreachable or ServerMisbehaved the session is dead.
    """

    #: Capability names the server offers and we use, upper case; for the admin.
    powers: frozenset[str]

    def folders(self) -> FolderListing:
        """List all folders, with their status where it comes in the same round trips."""

    def status(self, refs: Sequence[str]) -> Mapping[str, FolderStatus]:
        """Tell the status of folders without opening them, in one round trip. Refused ones are left out."""

    def changes(self, ref: str, cursor: Cursor | None, *, relist: bool) -> FolderDelta:
        """Compare one folder with `cursor`; None: never seen. Raises FolderGone.

        `relist`: tell `present` even where the cursor would prove that nothing vanished, because the caller
        still misses messages (a first mirror that is not finished).
        """

    def unchanged(self, cursor: Cursor, status: FolderStatus) -> bool:
        """True when `status` proves that nothing differs from `cursor`: no flag, no message. False when in doubt."""

    def fingerprints(self, ref: str, ids: Sequence[str], *, message_ids: bool) -> Sequence[Fingerprint]:
        """Describe messages without their bodies; vanished ones are left out.

        `message_ids`: ask for the Message-ID header too, which costs the server more.
        """

    def fetch(self, ref: str, ids: Sequence[str]) -> Iterator[RemoteMessage]:
        """Stream whole messages in the order asked; vanished ones are left out. Marks nothing as read."""

    def close(self) -> None:
        """Log out, quietly. Raises nothing; the session may be dead already."""


@dataclass(frozen=True, slots=True)
class News:
    """What a standing connection heard; false when it heard nothing."""

    #: Folders that differ from what was heard before.
    folders: frozenset[str] = frozenset()
    #: Folders were made, renamed or removed, or nobody knows: all of them are to be looked at.
    listing: bool = False

    def __bool__(self) -> bool:
        return self.listing or bool(self.folders)


@runtime_checkable
class CanWatch(Protocol):
    """A session that can hear of changes without asking, on a connection that stands (IDLE, NOTIFY)."""

    @property
    def hears_all(self) -> bool:
        """Whether the session hears of every folder at once, not of the inbox alone; known once it has listened."""

    def watch(self, *, seconds: float) -> Generator[News, None, None]:
        """Listen for `seconds` and yield what is heard, at once; a first `watch` begins with news of everything.

        What happened since the last `watch` of this session, and to folders that the server tells nothing of by
        itself, is asked for when listening begins, and every half minute. May be closed early.
        """
