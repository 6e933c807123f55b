"""Applications, their keys, and the accounts they connect.

Application, ApiKey, GrantDirectory and AuditEntry are control tables: they live in `default` alone.
Account, Credential and the log live in the account's shard.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.changelog.logged import LoggedModel
from accounts.changelog.models import Notice, Transaction, TransactionHead

__all__ = [
    "Account",
    "ApiKey",
    "Application",
    "AuditEntry",
    "Credential",
    "GrantDirectory",
    "Notice",
    "StaffAction",
    "Transaction",
    "TransactionHead",
]


class Application(models.Model):
    """A product that reads mailboxes through us: owner of keys and grants, which no other application sees."""

    sharded: ClassVar[bool] = False

    name = models.TextField(unique=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # removing one would leave its accounts without an owner
        default_permissions = ("add", "change", "view")

    def __str__(self) -> str:
        return self.name


class ApiKey(models.Model):
    """A key of an application; only its SHA-256 is kept."""

    sharded: ClassVar[bool] = False

    application = models.ForeignKey(Application, models.CASCADE, related_name="keys")
    name = models.TextField()
    #: The first characters of the key, by which it is found and named to people.
    prefix = models.CharField(max_length=12)
    digest = models.BinaryField(max_length=32, unique=True)
    #: Of read, write, admin.
    scopes = ArrayField(models.TextField())
    created_at = models.DateTimeField(default=timezone.now)
    #: To the minute; None: never.
    last_used_at = models.DateTimeField(null=True, blank=True)
    #: None: never ends.
    expires_at = models.DateTimeField(null=True, blank=True)
    #: None: valid.
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        # to change one is to revoke it
        default_permissions = ("add", "change", "view")
        # services.find_api_key()
        indexes = [models.Index(fields=["prefix"], name="api_key_prefix")]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class Status(models.TextChoices):
    """Whether we mirror an account."""

    VALID = "valid", "valid"
    INVALID = "invalid", "invalid: the owner must act"
    PAUSED = "paused", "paused"


class GrantDirectory(models.Model):
    """Which grants an application has, and who has an email: the only table that knows accounts of every shard.

    Written before the account; a sweep (`sync.services.removal.sweep_directory`) mends what a crash left between.
    """

    sharded: ClassVar[bool] = False

    account_id = models.BigIntegerField(primary_key=True)
    application = models.ForeignKey(Application, models.CASCADE, related_name="grants")
    #: Lower case: one mailbox, however its owner spells it.
    email = models.TextField()
    provider = models.TextField()
    status = models.TextField(choices=Status, default=Status.VALID)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # what staff look for and open, in the admin
        verbose_name = "account"
        default_permissions = ("view",)
        permissions = [
            ("operate", "Can pause, resume and resync accounts"),
            ("open_body", "Can open the bodies of messages (recorded in the audit log)"),
        ]
        constraints = [models.UniqueConstraint(fields=["application", "email"], name="one_grant_an_email")]
        # api.views.grants: newest first
        indexes = [models.Index(fields=["application", "-created_at"], name="grants_of_application")]

    def __str__(self) -> str:
        return self.email


class Account(LoggedModel):
    """One mailbox: the unit of ownership, locking, ordering and sharding. `grant` on the wire."""

    log_type: ClassVar[str] = "grant"
    internal_fields: ClassVar[frozenset[str]] = frozenset({"status_reason"})
    tombstone_fields: ClassVar[tuple[str, ...]] = ("email", "provider")

    #: Of Application, which may live in another database.
    application_id = models.BigIntegerField()
    #: As its owner spells it.
    email = models.TextField()
    name = models.TextField(default="", blank=True)
    provider = models.TextField()
    status = models.TextField(choices=Status, default=Status.VALID)
    #: Why it is not valid, for people; never a secret.
    status_reason = models.TextField(default="", blank=True)
    #: What `grant.settings` shows: hosts, ports, user names, options; never a secret.
    settings = models.JSONField(default=dict)
    #: The caller's own word, given back to it.
    state = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        base_manager_name = "objects"
        # staff see accounts through the directory
        default_permissions = ()
        # the admin finds an account by its email
        indexes = [models.Index(fields=["email"], name="account_email")]

    def __str__(self) -> str:
        return self.email

    @property
    def account_id(self) -> int:
        """Its own id: an account owns itself."""
        return self.pk


class Credential(models.Model):
    """The secrets of an account, sealed by `accounts.secrets`."""

    account = models.OneToOneField(Account, models.CASCADE, primary_key=True, related_name="credential")
    #: A sealed JSON object, for example {"password": …}.
    sealed = models.BinaryField()
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        # nobody sees them
        default_permissions = ()

    def __str__(self) -> str:
        return f"credential of account {self.pk}"


class StaffAction(models.TextChoices):
    """What staff do that is recorded."""

    OPENED_BODY = "opened body", "opened body"
    DOWNLOADED_MAIL = "downloaded mail", "downloaded mail"
    PAUSED = "paused account", "paused account"
    RESUMED = "resumed account", "resumed account"
    RESYNCED = "asked for resync", "asked for resync"
    CREATED_KEY = "created API key", "created API key"
    REVOKED_KEY = "revoked API key", "revoked API key"


class AuditEntry(models.Model):
    """What staff did that the owner of a mailbox may ask about: never changed, never deleted by us."""

    sharded: ClassVar[bool] = False

    at = models.DateTimeField(default=timezone.now)
    #: None: the staff member's user is gone; `username` stays.
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True)
    username = models.TextField()
    action = models.TextField(choices=StaffAction)
    #: Null: about no account: an API key.
    account_id = models.BigIntegerField(null=True)
    #: Empty: the account itself.
    object_type = models.TextField(default="", blank=True)
    object_id = models.BigIntegerField(null=True)
    #: Where the request came from; null: not known.
    address = models.GenericIPAddressField(null=True)

    class Meta:
        verbose_name_plural = "audit log"
        default_permissions = ("view",)
        indexes = [
            # the admin: what was done with this account, newest first
            models.Index(fields=["account_id", "-at"], name="audit_of_account"),
            # the admin: the whole log, newest first
            models.Index(fields=["-at", "-id"], name="audit_newest_first"),
        ]
        constraints = [models.CheckConstraint(condition=~Q(action=""), name="audit_names_its_action")]

    def __str__(self) -> str:
        return f"{self.username} {self.action}"
