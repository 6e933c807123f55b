"""Rows as the v3 wire shows them. Pure: every row it needs is given to it; dicts are made by plain Python.

Ids are strings, times are unix seconds, absent texts are "", absent lists are [].
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from accounts.changelog.reader import Change
from accounts.changelog.words import ObjectType
from accounts.models import Account, Application, Notice
from sync.models import Folder, Message, Part, Thread
from sync.services.progress import FolderProgress, SyncProgress

Wire = dict[str, Any]


def seconds(moment: datetime | None) -> int | None:
    """Return a moment as unix seconds; None stays None."""
    return None if moment is None else int(moment.timestamp() // 1)


def fractional_seconds(moment: datetime | None) -> float | None:
    """Return a moment as unix seconds to the millisecond; None stays None."""
    return None if moment is None else round(moment.timestamp(), 3)


def object_type(message: Message) -> str:
    """Return what a message is on the wire."""
    return "draft" if message.is_draft else "message"


def message_wire(message: Message, *, body: str | None = None, attachments: Sequence[Part] = ()) -> Wire:
    """Return a message or a draft; `body`: its HTML, else its text; None: it has not arrived yet."""
    grant_id = str(message.account_id)
    return {
        "id": str(message.pk),
        "grant_id": grant_id,
        "object": object_type(message),
        "thread_id": str(message.thread_id),
        "subject": message.subject,
        "from": message.from_addresses,
        "to": message.to_addresses,
        "cc": message.cc_addresses,
        "bcc": message.bcc_addresses,
        "reply_to": message.reply_to_addresses,
        "date": seconds(message.date),
        "header_date": seconds(message.header_date),
        "created_at": seconds(message.created_at),
        "unread": message.unread,
        "starred": message.starred,
        "flags": message.flags,
        "folders": [str(one) for one in message.folder_ids],
        "copies": message.copies,
        "snippet": message.snippet,
        "body": body or "",
        "body_pending": body is None,
        "attachments": [attachment_wire(part) for part in attachments],
        "in_reply_to": message.in_reply_to or None,
        "size": message.size,
    }


def attachment_wire(part: Part) -> Wire:
    """Return an attachment or an inline image."""
    return {
        "id": str(part.pk),
        "grant_id": str(part.account_id),
        "filename": part.filename,
        "content_type": part.content_type,
        "size": part.size,
        "content_id": part.content_id or None,
        "content_disposition": part.disposition or None,
        "is_inline": part.is_inline,
    }


def folder_wire(folder: Folder) -> Wire:
    """Return a folder; its counts are of copies, as STATUS counts."""
    return {
        "id": str(folder.pk),
        "grant_id": str(folder.account_id),
        "object": "folder",
        "name": folder.name,
        "path": folder.path,
        "delimiter": folder.delimiter,
        "parent_id": None if folder.parent_id is None else str(folder.parent_id),
        "attributes": folder.attributes,
        "system_folder": folder.system_folder,
        "selectable": folder.selectable,
        "child_count": folder.child_count,
        "total_count": folder.total_count,
        "unread_count": folder.unread_count,
    }


def thread_wire(thread: Thread, messages: Sequence[Message], latest: Wire | None) -> Wire:
    """Return a thread; `messages`: all of it, drafts too, oldest first; `latest`: the newest, whole."""
    newest = messages[-1] if messages else None
    return {
        "id": str(thread.pk),
        "grant_id": str(thread.account_id),
        "object": "thread",
        "subject": thread.subject,
        "snippet": newest.snippet if newest else "",
        "participants": _participants(messages),
        "message_ids": [str(one.pk) for one in messages if not one.is_draft],
        "draft_ids": [str(one.pk) for one in messages if one.is_draft],
        "folders": [str(one) for one in thread.folder_ids],
        "unread": thread.unread,
        "starred": thread.starred,
        "has_attachments": thread.has_attachments,
        "has_drafts": thread.has_drafts,
        "earliest_message_date": seconds(thread.earliest_message_date),
        "latest_message_received_date": seconds(thread.latest_message_received_date),
        "latest_message_sent_date": seconds(thread.latest_message_sent_date),
        "latest_draft_or_message": latest,
    }


def _participants(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Everybody named in From, To and Cc, each address once, in order of appearance, with the first name given."""
    found: dict[str, dict[str, str]] = {}
    for message in messages:
        for one in (*message.from_addresses, *message.to_addresses, *message.cc_addresses):
            known = found.setdefault(one["email"].lower(), one)
            if not known["name"] and one["name"]:
                found[one["email"].lower()] = one
    return list(found.values())


def grant_wire(account: Account, sync_state: str) -> Wire:
    """Return a grant; its settings hold no secret."""
    return {
        "id": str(account.pk),
        "object": "grant",
        "provider": account.provider,
        "account_id": str(account.pk),
        "grant_status": account.status,
        "email": account.email,
        "name": account.name,
        "scope": [],
        "settings": account.settings,
        "state": account.state,
        "user_agent": "",
        "ip": "",
        "provider_user_id": account.email,
        "credential_id": None,
        "created_at": seconds(account.created_at),
        "updated_at": seconds(account.updated_at),
        "sync_state": sync_state,
    }


def application_wire(application: Application) -> Wire:
    """Return an application, with the constants that SDKs require."""
    return {
        "application_id": str(application.pk),
        "organization_id": "mailmirror",
        "region": "local",
        "environment": "production",
        "branding": {"name": application.name},
        "callback_uris": [],
        "created_at": seconds(application.created_at),
    }


def change_wire(change: Change, *, account_id: int, cursor: str) -> Wire:
    """Return a change without its object."""
    return {
        "cursor": cursor,
        "type": change.type,
        "op": change.op,
        "id": str(change.object_id),
        "grant_id": str(account_id),
        "at": seconds(change.at),
    }


def notice_wire(notice: Notice) -> Wire:
    """Return what happened, as the `object` of a change."""
    return {
        **notice.facts,
        "name": notice.name,
        "about_type": str(ObjectType(notice.about_type).label),
        "about_id": str(notice.account_id if notice.about_id is None else notice.about_id),
    }


def sync_wire(progress: SyncProgress) -> Wire:
    """Return how far a mirror is (`G/sync`)."""
    return {
        "state": progress.state,
        "requested": progress.requested,
        "completed": progress.completed,
        "messages_known": progress.messages_known,
        "messages_mirrored": progress.messages_mirrored,
        "progress": progress.progress,
        "eta_seconds": progress.eta_seconds,
        "last_synced_at": fractional_seconds(progress.last_synced_at),
        "last_error": progress.last_error or None,
        "folders": [_folder_progress(one) for one in progress.folders],
    }


def _folder_progress(one: FolderProgress) -> Wire:
    return {
        "id": str(one.id),
        "name": one.name,
        "path": one.path,
        "state": one.state,
        "messages_known": one.messages_known,
        "messages_mirrored": one.messages_mirrored,
        "last_synced_at": fractional_seconds(one.last_synced_at),
        "last_error": one.last_error or None,
        "uidvalidity": one.uidvalidity,
        "push": one.push,
    }
