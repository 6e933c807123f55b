"""A look at one account as a whole: its list of folders, and which of them differ.

Until a watcher holds a standing connection, this is how news are noticed: the STATUS of the inbox each second on the
warm session, and LIST with the STATUS of every folder each ten seconds, or at once when a pass was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from sync.models import AccountSync, SyncState
from sync.providers.base import FolderListing, FolderStatus, MailSession
from sync.services.folders import store_listing
from sync.services.holding import settle
from sync.services.leases import Lease
from sync.services.schedule import ACTIVE_FOR, LIST_INTERVAL, enqueue_folders
from sync.services.sessions import session


def look_at_account(lease: Lease) -> bool:
    """Ask the server which folders differ and enqueue those; return whether the account is active.

    Raises any MailError, and LeaseLost.
    """
    account = Account.objects.get(pk=lease.account_id)
    state = AccountSync.objects.get(account_id=lease.account_id)
    began = timezone.now()
    whole = state.requested > state.listed or state.listed_at is None or began - state.listed_at >= LIST_INTERVAL
    inbox = _inbox_refs(lease.account_id)
    with session(lease.account_id) as remote:
        if whole:
            listing = remote.folders()
            status = _status_of_all(remote, listing)
            store_listing(
                lease=lease,
                listing=listing,
                request=state.requested,
                excluded=account.settings.get("exclude_folders", ()),
            )
            AccountSync.objects.filter(pk=lease.account_id).update(listed_at=began, powers=sorted(remote.powers))
        else:
            status = remote.status(inbox)
        differing = _compare(lease.account_id, remote, status, request=state.requested if whole else 0, began=began)
    enqueue_folders(differing)
    settle(lease.account_id)
    active = bool(differing) or state.requested > state.completed
    if active:
        AccountSync.objects.filter(pk=lease.account_id).update(last_news_at=began)
    return active or (state.last_news_at is not None and began - state.last_news_at < ACTIVE_FOR)


def _status_of_all(remote: MailSession, listing: FolderListing) -> Mapping[str, FolderStatus]:
    missing = [one.ref for one in listing.folders if one.selectable and one.ref not in listing.status]
    return {**listing.status, **(remote.status(missing) if missing else {})}


def _inbox_refs(account_id: int) -> list[str]:
    mine = SyncState.objects.filter(account_id=account_id, folder__selectable=True)
    return list(mine.filter(folder__role="inbox").values_list("folder__ref", flat=True))


def _compare(
    account_id: int, remote: MailSession, status: Mapping[str, FolderStatus], *, request: int, began: datetime
) -> list[int]:
    """Return the folders that differ, or may differ where a pass must be exact; note those that are proven equal."""
    differing, equal = [], []
    states = SyncState.objects.filter(account_id=account_id, folder__selectable=True).select_related("folder")
    for one in states:
        told = status.get(one.folder.ref)
        if told is None:
            if one.looked < request:
                differing.append((True, one.pk))
            continue
        if one.complete and not one.seemed_empty and one.cursor is not None and remote.unchanged(one.cursor, told):
            equal.append(one.pk)
        elif _worth_comparing(one, told, request=request, began=began):
            # shrunk folders first: a loss seen before its arrival makes a move one change
            differing.append((told.messages is None or told.messages >= one.messages_known, one.pk))
            SyncState.objects.filter(pk=one.pk).update(status=asdict(told))
    if equal:
        mine = SyncState.objects.filter(pk__in=equal)
        mine.filter(looked__lt=request).update(looked=request)
        mine.filter(Q(looked_at=None) | Q(looked_at__lt=began)).update(looked_at=began)
    return [folder_id for _, folder_id in sorted(differing)]


def _worth_comparing(one: SyncState, told: FolderStatus, *, request: int, began: datetime) -> bool:
    """Whether a folder that STATUS does not prove equal is to be compared now.

    With a HIGHESTMODSEQ the difference is certain; without, only a new STATUS or a request for a pass is a reason,
    and the regular full comparison finds the rest. What somebody works on at this moment is looked at again later.
    """
    if one.looked < request:
        return True
    if one.lease_until is not None and one.lease_until > began:
        return False
    withheld = not one.complete and one.looked_at is not None and not one.failures
    if withheld and one.status == asdict(told):
        # messages that the server names and does not give are asked for at the regular comparison, not at every look
        return False
    return told.highestmodseq is not None or one.status != asdict(told)
