"""What a mailbox holds: folders, threads, messages (logged), and what belongs to them (not logged).

These tables name their account without a constraint: every write happens under the account's head lock, a removed
account goes at once and its mail after it, and checking a key for each row would cost more than writing the row.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.changelog.logged import LoggedModel
from accounts.models import Account


class Folder(LoggedModel):
    """A folder of a mailbox. Its counts are of copies, as STATUS counts."""

    log_type: ClassVar[str] = "folder"
    internal_fields: ClassVar[frozenset[str]] = frozenset({"ref", "stable_id"})
    tombstone_fields: ClassVar[tuple[str, ...]] = ("name", "system_folder")

    account = models.ForeignKey(Account, models.CASCADE, related_name="folders", db_constraint=False)
    #: The provider's name for it; internal.
    ref = models.TextField()
    #: The last level, decoded.
    name = models.TextField()
    #: All levels, decoded, joined by the server's delimiter.
    path = models.TextField()
    #: None: the server's names are flat.
    delimiter = models.TextField(null=True)  # noqa: DJ001
    #: Null: at the top.
    parent = models.ForeignKey("self", models.DO_NOTHING, null=True, related_name="children", db_constraint=False)
    #: As the server's LIST spells them, and at most one role, for example \\Sent.
    attributes = ArrayField(models.TextField(), default=list)
    #: Of `providers.base.Role`; empty: none.
    role = models.TextField(default="", blank=True)
    system_folder = models.BooleanField(default=False)
    #: False: it only holds other folders, or the server refuses to open it.
    selectable = models.BooleanField(default=True)
    #: What stays on the server when it is renamed; null: unknown. Internal.
    stable_id = models.TextField(null=True)  # noqa: DJ001
    total_count = models.IntegerField(default=0)
    unread_count = models.IntegerField(default=0)
    child_count = models.IntegerField(default=0)

    class Meta:
        base_manager_name = "objects"
        constraints = [
            # deferred: two folders may swap their names within one commit
            models.UniqueConstraint(
                fields=["account", "ref"], name="one_folder_a_ref", deferrable=models.Deferrable.DEFERRED
            )
        ]

    def __str__(self) -> str:
        return self.path


class Thread(LoggedModel):
    """A conversation: messages tied by their ids, never by subject alone.

    Its columns speak of its messages; drafts give `has_drafts`, and their folders.
    """

    log_type: ClassVar[str] = "thread"
    tombstone_fields: ClassVar[tuple[str, ...]] = ()

    account = models.ForeignKey(Account, models.CASCADE, related_name="threads", db_index=False, db_constraint=False)
    #: Of its oldest message.
    subject = models.TextField(default="", blank=True)
    #: The order of lists: its newest message's date, or its newest draft's where it has drafts alone.
    latest_date = models.DateTimeField(default=timezone.now)
    #: Null: drafts alone.
    earliest_message_date = models.DateTimeField(null=True)
    latest_message_received_date = models.DateTimeField(null=True)
    latest_message_sent_date = models.DateTimeField(null=True)
    unread = models.BooleanField(default=False)
    starred = models.BooleanField(default=False)
    has_attachments = models.BooleanField(default=False)
    has_drafts = models.BooleanField(default=False)
    #: Folders that hold copies of its messages and drafts.
    folder_ids = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        base_manager_name = "objects"
        # api.views.threads: newest first
        indexes = [models.Index(fields=["account", "-latest_date", "-id"], name="threads_newest_first")]

    def __str__(self) -> str:
        return self.subject


class Message(LoggedModel):
    """One distinct raw mail of an account, whatever the number of its copies. A draft when a copy says so."""

    log_type: ClassVar[str] = "message"
    log_type_flag: ClassVar[str] = "is_draft"
    internal_fields: ClassVar[frozenset[str]] = frozenset({"held_by", "updated_at"})
    tombstone_fields: ClassVar[tuple[str, ...]] = ()

    account = models.ForeignKey(Account, models.CASCADE, related_name="messages", db_index=False, db_constraint=False)
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="messages", db_constraint=False)
    #: Of the raw MIME: names its blob.
    sha256 = models.BinaryField(max_length=32)
    #: Bytes of the raw MIME.
    size = models.BigIntegerField()
    #: The Message-ID header without angle brackets; empty: none.
    message_id_header = models.TextField(default="", blank=True)
    #: The first id of In-Reply-To without angle brackets; empty: none.
    in_reply_to = models.TextField(default="", blank=True)
    subject = models.TextField(default="", blank=True)
    #: Lists of {"name", "email"}, in header order, as the wire shows them.
    from_addresses = models.JSONField(default=list)
    to_addresses = models.JSONField(default=list)
    cc_addresses = models.JSONField(default=list)
    bcc_addresses = models.JSONField(default=list)
    reply_to_addresses = models.JSONField(default=list)
    #: INTERNALDATE of its oldest copy; the Date header, clamped, only where the server gives none.
    date = models.DateTimeField()
    #: The Date header; null: absent or unreadable.
    header_date = models.DateTimeField(null=True)
    snippet = models.TextField(default="", blank=True)
    #: No copy has \\Seen.
    unread = models.BooleanField(default=True)
    #: Any copy has \\Flagged.
    starred = models.BooleanField(default=False)
    #: The union over its copies, sorted.
    flags = ArrayField(models.TextField(), default=list)
    #: Where its copies are, sorted.
    folder_ids = ArrayField(models.BigIntegerField(), default=list)
    copies = models.IntegerField(default=0)
    #: A copy has \\Draft, or is in the Drafts folder.
    is_draft = models.BooleanField(default=False)
    has_attachments = models.BooleanField(default=False)
    #: What was wrong with the mail, in the words of `sync.mime`.
    defects = ArrayField(models.TextField(), default=list)
    #: It lost its last copy: once this request (AccountSync.requested) is answered, it is gone. Null: it has copies.
    held_by = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        base_manager_name = "objects"
        constraints = [models.UniqueConstraint(fields=["account", "sha256"], name="one_message_a_raw_mail")]
        indexes = [
            # api.views.messages: newest first
            models.Index(fields=["account", "-date", "-id"], name="messages_newest_first"),
            # services.recognise: moves and resets, by what the server tells without a download
            models.Index(fields=["account", "size", "date"], name="messages_by_size_and_date"),
            # services.holding: a few among millions
            models.Index(fields=["account"], name="messages_held", condition=Q(held_by__isnull=False)),
            # api.views.messages: unread=true, starred=true
            models.Index(fields=["account", "-date", "-id"], name="messages_unread", condition=Q(unread=True)),
            models.Index(fields=["account", "-date", "-id"], name="messages_starred", condition=Q(starred=True)),
            # api.views.drafts
            models.Index(fields=["account", "-date", "-id"], name="drafts_newest_first", condition=Q(is_draft=True)),
        ]

    def __str__(self) -> str:
        return self.subject


class FolderMessage(models.Model):
    """A copy: one place of a message in one folder."""

    account = models.ForeignKey(Account, models.CASCADE, db_constraint=False)
    folder = models.ForeignKey(Folder, models.CASCADE, related_name="copies", db_index=False, db_constraint=False)
    message = models.ForeignKey(Message, models.CASCADE, related_name="folder_messages", db_constraint=False)
    #: The provider's id within the folder: IMAP: the UID.
    remote_id = models.TextField()
    #: As the server spells them, without \\Recent, sorted.
    flags = ArrayField(models.TextField(), default=list)
    #: INTERNALDATE; null: the server gave none.
    internal_date = models.DateTimeField(null=True)
    #: The message's date, kept here too so that a folder can be listed by an index.
    date = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["folder", "remote_id"], name="one_copy_a_remote_id")]
        # api.views.messages: in=…, newest first
        indexes = [models.Index(fields=["folder", "-date", "-message"], name="copies_newest_first")]

    def __str__(self) -> str:
        return f"{self.remote_id} in folder {self.folder_id}"


class Part(models.Model):
    """A leaf of a message that is not its text: an attachment or an inline image. Cut out of the blob when read."""

    account = models.ForeignKey(Account, models.CASCADE, db_index=False, db_constraint=False)
    message = models.ForeignKey(Message, models.CASCADE, related_name="parts", db_constraint=False)
    #: Among the parts of the message, from 0.
    position = models.IntegerField()
    content_type = models.TextField()
    filename = models.TextField(default="", blank=True)
    #: Without angle brackets; empty: none.
    content_id = models.TextField(default="", blank=True)
    #: inline, attachment, or empty where the mail does not say.
    disposition = models.TextField(default="", blank=True)
    is_inline = models.BooleanField(default=False)
    #: Content-Transfer-Encoding, lower case.
    encoding = models.TextField()
    charset = models.TextField(default="", blank=True)
    #: Where the encoded content begins in the raw MIME, and its bytes there.
    offset = models.BigIntegerField()
    length = models.BigIntegerField()
    #: Bytes once decoded.
    size = models.BigIntegerField()

    def __str__(self) -> str:
        return self.filename or self.content_type


class Body(models.Model):
    """The text of a message, read only when asked for: the mail's own, unaltered, each at most 1 MB once unpacked."""

    message = models.OneToOneField(Message, models.CASCADE, primary_key=True, related_name="body", db_constraint=False)
    account = models.ForeignKey(Account, models.CASCADE, db_index=False, db_constraint=False)
    #: One zstd frame of UTF-8: the plain text, then the HTML.
    data = models.BinaryField()
    #: Bytes of the plain text; null: it has none.
    text_length = models.IntegerField(null=True)
    #: Bytes of the HTML; null: it has none.
    html_length = models.IntegerField(null=True)

    def __str__(self) -> str:
        return f"body of message {self.pk}"


class ThreadKey(models.Model):
    """Every message id ever named in an account, also of messages not yet seen, and the thread it belongs to."""

    pk = models.CompositePrimaryKey("account_id", "key")
    account = models.ForeignKey(Account, models.CASCADE, db_index=False, db_constraint=False)
    #: BLAKE2b-128 of the id: short, and of one length whatever a mail claims.
    key = models.BinaryField(max_length=16)
    thread = models.ForeignKey(Thread, models.CASCADE, related_name="keys", db_constraint=False)

    def __str__(self) -> str:
        return f"{bytes(self.key).hex()} -> {self.thread_id}"


class Blob(models.Model):
    """Raw MIME by its SHA-256: row `number` holds the bytes from `number` MiB on, at most 1 MiB, as one zstd frame."""

    pk = models.CompositePrimaryKey("account_id", "sha256", "number")
    account = models.ForeignKey(Account, models.CASCADE, db_index=False, db_constraint=False)
    sha256 = models.BinaryField(max_length=32)
    number = models.IntegerField()
    data = models.BinaryField()
    #: Where base64 was decoded before compressing, three numbers a run (`sync.base64_runs`); null: nowhere.
    runs = ArrayField(models.IntegerField(), null=True)

    def __str__(self) -> str:
        return f"{bytes(self.sha256).hex()} #{self.number}"


class RememberedMessage(models.Model):
    """The id of a message that went away, kept 24 h: should the same mail appear again, it gets its id back."""

    pk = models.CompositePrimaryKey("account_id", "sha256")
    account = models.ForeignKey(Account, models.CASCADE, db_index=False, db_constraint=False)
    sha256 = models.BinaryField(max_length=32)
    message_id = models.BigIntegerField()
    forgotten_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # services.holding.forget_remembered()
        indexes = [models.Index(fields=["forgotten_at"], name="remembered_by_age")]

    def __str__(self) -> str:
        return f"message {self.message_id}"
