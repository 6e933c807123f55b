"""What is compared, and what a comparison finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

#: A JSON value.
Json = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]


class Kind(StrEnum):
    """The ways in which a mirror can be wrong. The first half concerns the server, the second our own tables."""

    FOLDER_MISSING = "folder_missing"
    FOLDER_EXTRA = "folder_extra"
    #: Its path, delimiter, or whether it can be opened.
    FOLDER_DIFFERS = "folder_differs"
    #: The UIDs of the mirror are not those of the server: its messages are not compared.
    UIDVALIDITY_DIFFERS = "uidvalidity_differs"
    MESSAGE_MISSING = "message_missing"
    MESSAGE_EXTRA = "message_extra"
    #: Two copies stand for one message of the server.
    MESSAGE_DOUBLED = "message_doubled"
    FLAGS_DIFFER = "flags_differ"
    #: INTERNALDATE.
    DATE_DIFFERS = "date_differs"
    SIZE_DIFFERS = "size_differs"
    CONTENT_DIFFERS = "content_differs"

    #: The raw MIME is not stored, or not whole.
    BLOB_MISSING = "blob_missing"
    #: What is stored is not what its hash says.
    BLOB_DAMAGED = "blob_damaged"
    #: Raw MIME of no message.
    BLOB_EXTRA = "blob_extra"
    BODY_MISSING = "body_missing"
    #: The counts of a folder are not those of its copies and children.
    COUNT_DIFFERS = "count_differs"
    #: Public columns of a folder, message or thread do not follow from the rows they are made of.
    DERIVED_DIFFERS = "derived_differs"
    #: An object exists and the log does not say so.
    LOG_MISSING = "log_missing"
    #: The log says that an object exists, and it does not.
    LOG_EXTRA = "log_extra"
    #: Created twice, or changed while it did not exist.
    LOG_ORDER = "log_order"
    #: Numbers without a transaction: changes that no client saw.
    LOG_GAP = "log_gap"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. `server` is the right value: the server's, or what follows from the rows or the log."""

    kind: Kind
    #: Its path; None: it concerns no folder.
    folder: str | None
    mirror: Json
    server: Json
    uid: int | None = None
    message_id: int | None = None
    #: A word of the log and the id: what it concerns where that is no message, and in the log.
    object_type: str | None = None
    object_id: int | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two looks' differences the same."""
        return self.kind, self.folder, self.uid, self.message_id, self.object_type, self.object_id

    def as_json(self) -> dict[str, Json]:
        """As `check_mirror --json` prints it; ids are strings, as in the API."""
        told: dict[str, Json] = {"kind": self.kind.value, "folder": self.folder}
        if self.uid is not None:
            told["uid"] = self.uid
        for name in ("message_id", "object_type", "object_id"):
            value = getattr(self, name)
            if value is not None:
                told[name] = str(value)
        return told | {"mirror": self.mirror, "server": self.server}


@dataclass(slots=True)
class Report:
    """What was compared, and what differs."""

    folders: int = 0
    #: Messages of the server, counted once a folder.
    messages: int = 0
    #: Of these, how many were compared byte for byte.
    contents: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: There are more differences than are listed.
    more: bool = False
    #: Differences of the first look that were gone after another pass.
    passed: int = 0

    def as_json(self) -> dict[str, Any]:
        """As `check_mirror --json` prints it."""
        checked = {"folders": self.folders, "messages": self.messages, "contents": self.contents}
        told = {"checked": checked, "differences": [one.as_json() for one in self.differences]}
        return told | ({"more": True} if self.more else {})


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder, as mirror and server are compared."""

    path: str
    delimiter: str | None
    #: False: it only holds other folders, or cannot be opened.
    selectable: bool
    #: None: not known, and not compared.
    uidvalidity: int | None = None


@dataclass(frozen=True, slots=True)
class RemoteCopy:
    """A message in a folder of the server."""

    flags: frozenset[str]
    #: Bytes of the raw message, as the server claims; where `sha256` is known, as they were read.
    size: int
    #: Of the raw message; None: it was not read.
    sha256: bytes | None = None
    #: INTERNALDATE; None: the server gives none.
    date: datetime | None = None
    #: Its number in the session that read it.
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class MirroredCopy:
    """A copy in a folder of the mirror, with what its message says."""

    message_id: int
    flags: frozenset[str]
    size: int
    sha256: bytes
    #: INTERNALDATE; None: the server gave none.
    date: datetime | None = None
