"""What the API itself must remember: answers to requests that name an Idempotency-Key."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from accounts.models import Application


class IdempotentRequest(models.Model):
    """A request with an Idempotency-Key, and its answer once there is one. A control table, kept for an hour."""

    sharded: ClassVar[bool] = False

    application = models.ForeignKey(Application, models.CASCADE, db_index=False)
    #: The grant of the path; 0: the request is of the application as a whole.
    account_id = models.BigIntegerField(default=0)
    #: As the caller gave it.
    key = models.CharField(max_length=256)
    #: A keyed hash of method, path and body: bodies hold passwords.
    fingerprint = models.BinaryField(max_length=32)
    #: When it was taken up; tells who has it from who had it before.
    claimed_at = models.DateTimeField()
    #: Of the answer; null: it is being worked on, or whoever did died.
    status = models.PositiveSmallIntegerField(null=True)
    #: The answer, as JSON text: its bytes are told again as they were.
    body = models.TextField(default="", blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["application", "account_id", "key"], name="one_request_a_key")]
        # idempotency.prune()
        indexes = [models.Index(fields=["claimed_at"], name="idempotent_by_age")]

    def __str__(self) -> str:
        return self.key
