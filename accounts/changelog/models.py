"""The tables of the transaction log: who changed what, in commit order, without saying what it looks like now."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

# checks and guards listen to Django from their import on
from accounts.changelog import checks as checks
from accounts.changelog import guards as guards
from accounts.changelog.logged import LoggedModel
from accounts.changelog.words import Kind, ObjectType

__all__ = ["Kind", "Notice", "ObjectType", "Transaction", "TransactionHead"]


class TransactionHead(models.Model):
    """An account's place in its log: the counter of its transactions, and the lock of all that is written to it.

    It outlives its account, as the log does: there is no foreign key to Account.
    """

    account_id = models.BigIntegerField(primary_key=True)
    #: Of Application, which may live in another database.
    application_id = models.BigIntegerField()
    #: 0: nothing was logged yet.
    last_seq = models.BigIntegerField(default=0)
    #: Transactions up to this one were pruned; 0: none.
    pruned_seq = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"account {self.account_id} at {self.last_seq}"


class Transaction(models.Model):
    """One change of one public object. No payload: a reader joins the object as it is now."""

    account_id = models.BigIntegerField()
    #: Exact commit order within the account, without gaps, from 1.
    seq = models.BigIntegerField()
    object_id = models.BigIntegerField()
    recorded_at = models.DateTimeField()
    object_type = models.PositiveSmallIntegerField(choices=ObjectType)
    kind = models.PositiveSmallIntegerField(choices=Kind)
    #: Of a deleted object: public fields that can be read nowhere else. Null: its type has none, or it is not deleted.
    tombstone: models.JSONField[Any, Any] = models.JSONField(null=True, encoder=DjangoJSONEncoder)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["account_id", "seq"], name="one_transaction_a_seq")]
        # reader.prune(): rows lie in the order of time, so a few bytes find the old ones
        indexes = [BrinIndex(fields=["recorded_at"], name="transactions_by_age", autosummarize=True)]

    def __str__(self) -> str:
        return f"{self.account_id}/{self.seq}: {ObjectType(self.object_type).label} {Kind(self.kind).label}"


class Notice(LoggedModel):
    """What happened without being the state of an object: a bounce, a finished first mirror. Pruned with the log."""

    log_type: ClassVar[str] = "notice"

    account_id = models.BigIntegerField()
    #: A trigger's name, for example message.bounce_detected.
    name = models.TextField()
    #: The object it is about; `about_id` null: the account itself.
    about_type = models.PositiveSmallIntegerField(choices=ObjectType)
    about_id = models.BigIntegerField(null=True)
    #: JSON, as the wire shows it.
    facts: models.JSONField[Any, Any] = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    noticed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        base_manager_name = "objects"
        # reader.prune()
        indexes = [BrinIndex(fields=["noticed_at"], name="notices_by_age", autosummarize=True)]

    def __str__(self) -> str:
        return self.name
