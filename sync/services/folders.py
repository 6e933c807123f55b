"""The list of folders: what the server lists becomes our folders, renamed ones keep their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from accounts.changelog.recorder import lock_account
from sync.models import AccountSync, Folder, FolderMessage, SyncState
from sync.plan import KnownFolder, ListingPlan, plan_listing
from sync.providers.base import FolderListing, RemoteFolder
from sync.services.copies import refresh_messages
from sync.services.leases import ClockTimestamp, Lease, confirm_lease

#: How a role is spelled on the wire (api.md 12.3).
ROLE_ATTRIBUTES = {
    "inbox": "\\Inbox",
    "sent": "\\Sent",
    "drafts": "\\Drafts",
    "trash": "\\Trash",
    "junk": "\\Junk",
    "archive": "\\Archive",
    "all": "\\All",
}
#: What LIST says of the mail that waits, not of the folder (RFC 3501 7.2.2): it would change with every message.
_PASSING = {"\\marked", "\\unmarked"}
_ROLE_WORDS = {spelling.lower() for spelling in ROLE_ATTRIBUTES.values()}


def store_listing(*, lease: Lease, listing: FolderListing, request: int, excluded: Iterable[str] = ()) -> ListingPlan:
    """Make our folders equal the server's list; `request`: the newest request made before the list was asked for.

    `excluded`: paths the owner does not want mirrored; they are not listed either. Raises LeaseLost.
    """
    unwanted = set(excluded)
    listed = [remote for remote in listing.folders if path_of(remote) not in unwanted]
    with lock_account(lease.account_id):
        confirm_lease(lease)
        plan = plan_listing(_known(lease.account_id), listed)
        for folder_id in plan.remove:
            remove_folder(lease.account_id, folder_id)
        ids = dict(plan.keep)
        for remote in plan.create:
            ids[_create(lease.account_id, remote)] = remote
        _write(lease.account_id, ids)
        mine = AccountSync.objects.filter(account_id=lease.account_id, listed__lt=request)
        mine.update(listed=request)
    return plan


def path_of(remote: RemoteFolder) -> str:
    """All levels of a folder's name, joined by the server's delimiter."""
    return (remote.delimiter or "/").join(remote.levels)


def _known(account_id: int) -> list[KnownFolder]:
    rows = Folder.objects.filter(account_id=account_id)
    return [KnownFolder(*row) for row in rows.values_list("id", "ref", "stable_id", "selectable", "parent_id")]


def _create(account_id: int, remote: RemoteFolder) -> int:
    folder = Folder(account_id=account_id, ref=remote.ref, name=remote.levels[-1], path=path_of(remote))
    for column, value in _columns(remote).items():
        setattr(folder, column, value)
    folder.save()
    SyncState.objects.create(folder=folder, account_id=account_id, next_sync_at=ClockTimestamp())
    return folder.pk


def _columns(remote: RemoteFolder) -> dict[str, Any]:
    return {
        "ref": remote.ref,
        "name": remote.levels[-1],
        "path": path_of(remote),
        "delimiter": remote.delimiter,
        "attributes": wire_attributes(remote),
        "role": remote.role or "",
        "system_folder": remote.role is not None,
        "selectable": remote.selectable,
        "stable_id": remote.stable_id,
    }


def wire_attributes(remote: RemoteFolder) -> list[str]:
    """The server's own lasting attributes, and exactly one role in the wire's spelling when one is known."""
    own = [one for one in remote.attributes if one.lower() not in _ROLE_WORDS | _PASSING]
    return own + ([ROLE_ATTRIBUTES[remote.role]] if remote.role else [])


def _write(account_id: int, ids: Mapping[int, RemoteFolder]) -> None:
    """Write what differs, parents and counts of children included: one `updated` for each folder that changed."""
    by_levels = {remote.levels: folder_id for folder_id, remote in ids.items()}
    parents = {folder_id: by_levels.get(remote.levels[:-1]) for folder_id, remote in ids.items()}
    children = Counter(parent for parent in parents.values() if parent is not None)
    changed, roles, doubtful = [], [], []
    for folder in Folder.objects.filter(account_id=account_id):
        wanted = _columns(ids[folder.pk])
        wanted |= {"parent_id": parents[folder.pk], "child_count": children[folder.pk]}
        if all(getattr(folder, column) == value for column, value in wanted.items()):
            continue
        if folder.selectable and not wanted["selectable"]:
            _empty(account_id, folder.pk)
            wanted |= {"total_count": 0, "unread_count": 0}
        if "drafts" in (folder.role, wanted["role"]) and folder.role != wanted["role"]:
            roles.append(folder.pk)
        if folder.ref != wanted["ref"] and not ids[folder.pk].stable_id_is_unique:
            doubtful.append(folder.pk)
        for column, value in wanted.items():
            setattr(folder, column, value)
        changed.append(folder)
    if changed:
        counts = ["child_count", "total_count", "unread_count"]
        Folder.objects.bulk_update(changed, [*_columns(ids[changed[0].pk]), "parent", *counts])
    _refresh_copies_of(account_id, roles)
    _compare_anew(doubtful)


def _compare_anew(folder_ids: Sequence[int]) -> None:
    """These look renamed, by an id that two folders may have: their copies are to be recognised, not believed.

    Whoever reads one of them at this moment reads what is told by its old name.
    """
    mine = SyncState.objects.filter(folder_id__in=folder_ids)
    mine.update(cursor=None, complete=False, lease_token=None, lease_until=None, next_sync_at=ClockTimestamp())


def _refresh_copies_of(account_id: int, folder_ids: Sequence[int]) -> None:
    if folder_ids:
        copies = FolderMessage.objects.filter(folder_id__in=folder_ids)
        refresh_messages(account_id, copies.values_list("message_id", flat=True))


def _empty(account_id: int, folder_id: int) -> None:
    """A folder cannot be opened any more, it only holds others: drop its copies, and who reads it at this moment."""
    copies = FolderMessage.objects.filter(folder_id=folder_id)
    message_ids = set(copies.values_list("message_id", flat=True))
    copies.delete()
    never_read = {"cursor": None, "complete": False, "looked": 0, "looked_at": None, "messages_known": 0}
    mine = SyncState.objects.filter(folder_id=folder_id)
    mine.update(lease_token=None, lease_until=None, status=None, seemed_empty=False, **never_read)
    refresh_messages(account_id, message_ids)


def remove_folder(account_id: int, folder_id: int) -> None:
    """Drop a folder that is gone from the server, with its copies; inside the caller's `lock_account`."""
    copies = FolderMessage.objects.filter(folder_id=folder_id)
    message_ids = set(copies.values_list("message_id", flat=True))
    copies.delete()
    Folder.objects.filter(parent_id=folder_id).update(parent=None)
    SyncState.objects.filter(folder_id=folder_id).delete()
    Folder.objects.filter(pk=folder_id).delete()
    refresh_messages(account_id, message_ids)
