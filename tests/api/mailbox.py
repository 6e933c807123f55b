"""Mailboxes for the tests of the API: rows written by the services that write what a real sync finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import count
from typing import Any

from accounts.changelog.recorder import lock_account
from accounts.models import Account, Application, GrantDirectory
from project.shards import on_shard
from sync.models import AccountSync, Folder, Message, SyncState
from sync.providers.base import RemoteMessage
from sync.services.ingest import arrive, store_arrivals
from sync.services.leases import Lease

#: Of the oldest message; each further one is a minute younger.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

_numbers = count(1)


def mail(subject: str = "Hello", **more: Any) -> bytes:
    """Return a raw mail; `text`, `html`, `attachments` [(filename, content type, bytes)], other words are headers."""
    message = EmailMessage()
    attachments = more.pop("attachments", [])
    text, html = more.pop("text", "Hi there.\n"), more.pop("html", None)
    headers = {
        "From": "Ada <ada@example.org>",
        "To": "Bob <bob@example.org>",
        "Message-ID": f"<{next(_numbers)}@example.org>",
    } | {name.replace("_", "-"): value for name, value in more.items()}
    message["Subject"] = subject
    for name, value in headers.items():
        message[name] = value
    message.set_content(text)
    if html is not None:
        message.add_alternative(html, subtype="html")
    for filename, content_type, content in attachments:
        maintype, _, subtype = content_type.partition("/")
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=filename)
    return message.as_bytes()


@dataclass
class Mailroom:
    """An account and its mirrored mail."""

    account: Account
    folders: dict[str, Folder] = field(default_factory=dict)
    added: int = 0

    @property
    def id(self) -> int:
        return self.account.pk

    @property
    def path(self) -> str:
        """Where the API serves it."""
        return f"/v3/grants/{self.id}"

    def folder(self, path: str = "INBOX", **more: Any) -> Folder:
        """Return a folder, made when new."""
        if path not in self.folders:
            name = path.rpartition("/")[2]
            with on_shard(self.id):
                made = Folder(account=self.account, ref=path, name=name, path=path, delimiter="/", **more)
                made.save()
                SyncState.objects.create(folder=made, account_id=self.id, complete=True, looked_at=EPOCH)
            self.folders[path] = made
        return self.folders[path]

    def add(self, raw: bytes, *paths: str, flags: tuple[str, ...] = (), date: datetime | None = None) -> Message:
        """Store a mail in folders (INBOX), as a sync would; return its message."""
        self.added += 1
        when = date or EPOCH + timedelta(minutes=self.added)
        for number, path in enumerate(paths or ("INBOX",)):
            remote = RemoteMessage(f"{self.added}-{number}", frozenset(flags), when, len(raw), raw)
            arrival = arrive(remote)
            lease = Lease(self.id, self.folder(path).pk)
            with on_shard(self.id), lock_account(self.id):
                store_arrivals(lease, [arrival])
        assert arrival.frames is not None
        with on_shard(self.id):
            return Message.objects.get(account_id=self.id, sha256=arrival.frames.sha256)


def make_mailroom(application: Application, email: str = "ada@example.org", *, shard: int = 0) -> Mailroom:
    """Store an account without any mail in a shard."""
    with on_shard(shard=shard):
        account = Account(
            application_id=application.pk, email=email, provider="imap", settings={"imap_host": "mail.example.org"}
        )
        account.save()
        AccountSync.objects.create(account=account, listed_at=EPOCH, last_synced_at=EPOCH)
    GrantDirectory.objects.create(account_id=account.pk, application=application, email=email.lower(), provider="imap")
    return Mailroom(account)
