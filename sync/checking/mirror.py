"""The mirror's picture of a mailbox, read from the tables in short statements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import zstandard

from sync.blobs import PIECE, BlobMissing, open_blob
from sync.checking.values import FolderFacts, MirroredCopy
from sync.models import Folder, FolderMessage, SyncState

#: Rows a statement.
PAGE = 20_000


@dataclass(frozen=True, slots=True)
class MirroredFolder:
    """A folder of the mirror."""

    id: int
    facts: FolderFacts


def mirrored_folders(account_id: int) -> dict[str, MirroredFolder]:
    """Tell the folders of an account by their refs."""
    cursors = dict(SyncState.objects.filter(account_id=account_id).values_list("folder_id", "cursor"))
    rows = Folder.objects.filter(account_id=account_id)
    found = {}
    for pk, ref, path, delimiter, selectable in rows.values_list("pk", "ref", "path", "delimiter", "selectable"):
        uidvalidity = (cursors.get(pk) or {}).get("uidvalidity")
        found[ref] = MirroredFolder(pk, FolderFacts(path, delimiter, selectable, uidvalidity))
    return found


@dataclass(slots=True)
class FolderIds:
    """The remote ids of a folder's copies."""

    uids: set[int] = field(default_factory=set)
    #: Remote ids that spell a UID of `uids` in another way.
    doubled: list[str] = field(default_factory=list)
    #: Remote ids that are no UIDs.
    foreign: list[str] = field(default_factory=list)


def folder_ids(folder_id: int) -> FolderIds:
    """Read the remote ids of a folder."""
    found = FolderIds()
    last = ""
    while True:
        rows = FolderMessage.objects.filter(folder_id=folder_id, remote_id__gt=last).order_by("remote_id")
        page = list(rows.values_list("remote_id", flat=True)[:PAGE])
        for remote_id in page:
            if not remote_id.isascii() or not remote_id.isdigit():
                found.foreign.append(remote_id)
            elif str(int(remote_id)) != remote_id:
                found.doubled.append(remote_id)
            else:
                found.uids.add(int(remote_id))
        if len(page) < PAGE:
            return found
        last = page[-1]


def mirrored_copies(folder_id: int, uids: Iterable[int]) -> dict[int, MirroredCopy]:
    """Tell the copies of a folder that have these UIDs."""
    rows = FolderMessage.objects.filter(folder_id=folder_id, remote_id__in=[str(uid) for uid in uids])
    columns = rows.values_list("remote_id", "message_id", "flags", "message__size", "message__sha256", "internal_date")
    return {
        int(remote_id): MirroredCopy(message_id, frozenset(flags), size, bytes(sha256), date)
        for remote_id, message_id, flags, size, sha256, date in columns
    }


def copies_by_remote_id(folder_id: int, remote_ids: Iterable[str]) -> dict[str, int]:
    """Tell the messages of copies, by remote ids of any kind."""
    rows = FolderMessage.objects.filter(folder_id=folder_id, remote_id__in=list(remote_ids))
    return dict(rows.values_list("remote_id", "message_id"))


def stored_hash(account_id: int, copy: MirroredCopy) -> bytes | None:
    """Return the SHA-256 of the raw MIME that is stored for a message; None: some of it is missing or unreadable."""
    digest = hashlib.sha256()
    try:
        for piece in open_blob(account_id, copy.sha256, copy.size).pieces():
            digest.update(piece)
    except (BlobMissing, zstandard.ZstdError, ValueError):
        return None
    return digest.digest()


def pieces_of(size: int) -> int:
    """How many rows hold a mail of `size` bytes."""
    return -(-size // PIECE)
