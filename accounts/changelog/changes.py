"""What was written to logged rows, and the transactions it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.dispatch import receiver

from accounts.changelog.recorder import Entry, record_each
from accounts.changelog.signals import post_bulk_delete, post_bulk_save
from accounts.changelog.words import Kind, ObjectType


class Change(NamedTuple):
    """One row, before and after: its type in the log, None where it did not or does not exist."""

    account_id: int
    object_id: int
    before: ObjectType | None
    now: ObjectType | None
    #: What is kept should it be, or become, deleted under its old type.
    tombstone: dict[str, Any] | None = None

    def entries(self) -> Iterator[Entry]:
        """Give what the log says of it: one row, or two where the type changed."""
        if self.now is not None and self.now == self.before:
            yield Entry(self.now, self.object_id, Kind.UPDATED)
            return
        if self.before is not None:
            yield Entry(self.before, self.object_id, Kind.DELETED, self.tombstone)
        if self.now is not None:
            yield Entry(self.now, self.object_id, Kind.CREATED)


def record_changes(changes: Sequence[Change], *, using: str) -> None:
    """Record changes of any accounts, within the transaction that made them."""
    record_each(((change.account_id, entry) for change in changes for entry in change.entries()), using=using)


@receiver([post_bulk_save, post_bulk_delete])
def _record_bulk(changes: Sequence[Change], using: str, **_signal: object) -> None:
    record_changes(changes, using=using)
