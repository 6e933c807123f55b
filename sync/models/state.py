"""How far we have read, and when to look again. Internal: nothing here is in the transaction log."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Account
from sync.models.mail import Folder


class Progress(models.Model):
    """What a folder's state and an account's have in common: who works on it, and how it went."""

    #: None: nobody works on it.
    lease_token = models.UUIDField(null=True)
    #: Past: its worker died, the work is free.
    lease_until = models.DateTimeField(null=True)
    #: When it was put into a queue; None: it is in none. Older than a minute: the queue lost it.
    queued_at = models.DateTimeField(null=True)
    #: In a row; the next try waits 2**failures times ten seconds, at most an hour.
    failures = models.PositiveSmallIntegerField(default=0)
    #: Of the last failure, for people; empty: the last try went well.
    last_error = models.TextField(default="", blank=True)
    last_error_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class AccountSync(Progress):
    """The looks at one account as a whole: its list of folders, and the fence of `G/sync`.

    A *pass* is one comparison of every selectable folder with the server. Requests for passes are numbered;
    what began after request n was made counts for n.
    """

    account = models.OneToOneField(Account, models.CASCADE, primary_key=True, related_name="sync")
    #: The number of the newest request for a pass.
    requested = models.BigIntegerField(default=0)
    #: Every request up to this one is answered: compared, committed, nothing held any more.
    completed = models.BigIntegerField(default=0)
    #: The request before which the list of folders was last read.
    listed = models.BigIntegerField(default=0)
    #: When the list of folders was last asked for; None: never.
    listed_at = models.DateTimeField(null=True)
    #: Start of the last complete pass; None: none yet.
    last_synced_at = models.DateTimeField(null=True)
    #: When to look again; None: paused, or the owner must act.
    next_look_at = models.DateTimeField(null=True)
    #: Last time the server told something new: an active account is looked at more often.
    last_news_at = models.DateTimeField(null=True)
    #: What the server offers that we use; for the admin.
    powers = models.JSONField(default=list)

    class Meta:
        # schedule.due_accounts(): a few due rows among thousands
        indexes = [models.Index(fields=["next_look_at"], name="due_accounts", condition=Q(next_look_at__isnull=False))]

    def __str__(self) -> str:
        return f"sync of account {self.pk}"


class SyncState(Progress):
    """How far we have read one folder, and when to look again."""

    folder = models.OneToOneField(Folder, models.CASCADE, primary_key=True, related_name="sync_state")
    account = models.ForeignKey(Account, models.CASCADE)
    #: The provider's own; None: never synced.
    cursor = models.JSONField(null=True)
    #: Nothing is missing: every message the server showed is mirrored.
    complete = models.BooleanField(default=False)
    #: The request (AccountSync.requested) before which the last complete comparison began.
    looked = models.BigIntegerField(default=0)
    #: When that comparison began; None: none yet.
    looked_at = models.DateTimeField(null=True)
    #: Messages the server showed at the last look.
    messages_known = models.IntegerField(default=0)
    #: What STATUS said when it was last fully compared: {"messages", "unseen", "uidnext", …}; None: not known.
    status = models.JSONField(null=True)
    #: It answered "empty" after being full: believed when it says so again.
    seemed_empty = models.BooleanField(default=False)
    #: When to compare it whatever STATUS says; None: paused.
    next_sync_at = models.DateTimeField(null=True)

    class Meta:
        # schedule.due_folders(): a few due rows among millions
        indexes = [
            models.Index(fields=["next_sync_at"], name="due_folders", condition=Q(next_sync_at__isnull=False)),
            # services.figures: how many fail, a few among millions
            models.Index(fields=["account"], name="failing_folders", condition=Q(failures__gt=0)),
        ]

    def __str__(self) -> str:
        return f"sync of folder {self.pk}"


class Removal(models.Model):
    """An account that is gone, and of which mail is still being deleted; without a row, nothing of it is left."""

    account_id = models.BigIntegerField(primary_key=True)
    requested_at = models.DateTimeField(default=timezone.now)
    #: When somebody last took it up; older than a minute: nobody works on it.
    worked_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"removal of account {self.account_id}"
