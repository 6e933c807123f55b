"""Decide, purely: what a server's answer means for what we hold. No input or output, no clock, no database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sync.providers.base import Fingerprint, FolderDelta, RemoteFolder


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What to do to one folder's copies so that it equals the server."""

    #: To fetch, newest first.
    new: tuple[str, ...]
    #: Known copies whose flags differ, with the server's flags.
    flags: Mapping[str, frozenset[str]]
    #: Known copies that are gone.
    vanished: frozenset[str]


def plan_folder(have: Mapping[str, frozenset[str]], delta: FolderDelta) -> FolderPlan:
    """Compare the copies we `have` (remote id -> flags) with what the server says.

    Where `delta.present` is None, `have` need only hold the ids of `delta.seen` and `delta.vanished`.
    """
    if delta.present is None:
        vanished = frozenset(delta.vanished & have.keys())
        unknown: Iterable[str] = delta.seen.keys() - have.keys() - delta.vanished
    else:
        vanished = frozenset(have.keys() - delta.present)
        unknown = delta.present - have.keys()
    flags = {
        remote_id: seen
        for remote_id, seen in delta.seen.items()
        if remote_id in have and remote_id not in vanished and have[remote_id] != seen
    }
    return FolderPlan(newest_first(unknown), flags, vanished)


def newest_first(ids: Iterable[str]) -> tuple[str, ...]:
    """Order remote ids newest first: UIDs grow with time (RFC 9051 2.3.1.1); for opaque ids any order will do."""
    return tuple(sorted(ids, key=lambda remote_id: (len(remote_id), remote_id), reverse=True))


@dataclass(frozen=True, slots=True)
class KnownFolder:
    """A folder as we hold it."""

    id: int
    ref: str
    stable_id: str | None
    selectable: bool
    parent_id: int | None


@dataclass(frozen=True, slots=True)
class ListingPlan:
    """What to do to our folders so that they equal the server's list."""

    #: To make, parents before children.
    create: tuple[RemoteFolder, ...]
    #: Folder id -> what it is on the server now; its ref differs when it was renamed.
    keep: Mapping[int, RemoteFolder]
    #: Folder ids that are gone.
    remove: tuple[int, ...]


def plan_listing(known: Sequence[KnownFolder], listed: Sequence[RemoteFolder]) -> ListingPlan:
    """Match the folders we hold with the server's list, so that renamed ones keep their ids.

    The same name and stable id is the same folder; then a stable id that is unique on both sides (a rename);
    then the same name alone (deleted and made anew, a new UIDVALIDITY). INBOX is always INBOX: renaming it
    moves its messages and leaves it there (RFC 9051 6.3.6). Folders that only hold others have no id of
    their own: they follow the children that were found again.
    """
    keep: dict[int, RemoteFolder] = {}
    by_ref = {remote.ref: remote for remote in listed}
    for folder in known:
        remote = by_ref.get(folder.ref)
        if remote is not None and (folder.stable_id == remote.stable_id or folder.ref.upper() == "INBOX"):
            keep[folder.id] = remote
    _match_renamed(known, listed, keep)
    for folder in known:
        remote = by_ref.get(folder.ref)
        if remote is not None and folder.id not in keep and remote.ref not in _refs(keep):
            keep[folder.id] = remote
    _match_parents(known, listed, keep)
    taken = _refs(keep)
    create = sorted((remote for remote in listed if remote.ref not in taken), key=lambda remote: len(remote.levels))
    return ListingPlan(tuple(create), keep, tuple(folder.id for folder in known if folder.id not in keep))


def _refs(keep: Mapping[int, RemoteFolder]) -> set[str]:
    return {remote.ref for remote in keep.values()}


def _match_renamed(known: Sequence[KnownFolder], listed: Sequence[RemoteFolder], keep: dict[int, RemoteFolder]) -> None:
    taken = _refs(keep)
    left = {
        folder.stable_id: folder.id
        for folder in known
        if folder.id not in keep and folder.stable_id is not None and folder.ref.upper() != "INBOX"
    }
    free = {
        remote.stable_id: remote
        for remote in listed
        if remote.ref not in taken and remote.stable_id is not None and remote.ref.upper() != "INBOX"
    }
    ours = Counter(folder.stable_id for folder in known)
    theirs = Counter(remote.stable_id for remote in listed)
    for stable_id, folder_id in left.items():
        if stable_id in free and ours[stable_id] == 1 == theirs[stable_id]:
            keep[folder_id] = free[stable_id]


def _match_parents(known: Sequence[KnownFolder], listed: Sequence[RemoteFolder], keep: dict[int, RemoteFolder]) -> None:
    """Find folders without an id of their own again, by a child that was found under another parent."""
    by_levels = {remote.levels: remote for remote in listed}
    parent_of = {folder.id: folder.parent_id for folder in known}
    found = True
    while found:
        found = False
        taken = _refs(keep)
        for child_id, remote in list(keep.items()):
            parent_id = parent_of.get(child_id)
            parent = by_levels.get(remote.levels[:-1])
            if parent_id is None or parent_id in keep or parent is None or parent.ref in taken:
                continue
            keep[parent_id] = parent
            found = True
            break


@dataclass(frozen=True, slots=True)
class KnownCopy:
    """A mirrored message that a new remote id may turn out to be a copy of."""

    message_id: int
    message_id_header: str
    size: int
    date: datetime


def recognise(prints: Sequence[Fingerprint], known: Iterable[KnownCopy]) -> dict[str, int]:
    """Tell which remote ids are copies of messages we have: the same Message-ID, size and date.

    Returns remote id -> message id. Without a Message-ID, or where two of our messages fit, a message is not
    recognised: it is downloaded, and its hash decides.
    """
    candidates: dict[tuple[str, int, datetime | None], set[int]] = defaultdict(set)
    for copy in known:
        if copy.message_id_header:
            candidates[copy.message_id_header, copy.size, copy.date].add(copy.message_id)
    found = {}
    for one in prints:
        fitting = candidates.get((one.message_id or "", one.size, one.internal_date), set())
        if len(fitting) == 1:
            found[one.remote_id] = next(iter(fitting))
    return found


@dataclass(frozen=True, slots=True)
class CopyFacts:
    """One copy of a message, as far as the message's public columns depend on it."""

    folder_id: int
    flags: Sequence[str]
    internal_date: datetime | None
    in_drafts: bool


@dataclass(frozen=True, slots=True)
class MessageState:
    """The public columns of a message that its copies decide (api.md 12.3)."""

    folder_ids: list[int]
    flags: list[str]
    unread: bool
    starred: bool
    copies: int
    is_draft: bool
    #: INTERNALDATE of the oldest copy; None: the server gives none.
    date: datetime | None


def message_state(copies: Sequence[CopyFacts]) -> MessageState:
    """Combine the copies of a message; at least one is given.

    Unread: no copy has \\Seen; starred: any has \\Flagged; a draft: any has \\Draft or lies in the Drafts folder.
    """
    flags = sorted({flag for copy in copies for flag in copy.flags})
    folded = {flag.lower() for flag in flags}
    dates = [copy.internal_date for copy in copies if copy.internal_date is not None]
    return MessageState(
        folder_ids=sorted({copy.folder_id for copy in copies}),
        flags=flags,
        unread="\\seen" not in folded,
        starred="\\flagged" in folded,
        copies=len(copies),
        is_draft="\\draft" in folded or any(copy.in_drafts for copy in copies),
        date=min(dates, default=None),
    )
