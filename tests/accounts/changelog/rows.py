"""Accounts, messages and what their logs say, for the tests of the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from accounts.changelog.recorder import lock_account
from accounts.models import Account, Transaction
from project.shards import alias_at_hand, on_shard
from sync.models import Message, Thread

DATE = datetime(2026, 1, 1, tzinfo=UTC)


#: Every database of the tests.
ALIASES = ["default", "shard_1"]


def make_account(email: str = "ada@example.org") -> Account:
    """Store an account in the shard at hand."""
    account = Account(application_id=1, email=email, provider="imap")
    account.save()
    return account


def message_row(account_id: int, thread_id: int, number: int, **more: Any) -> dict[str, Any]:
    """Return the columns of a message that have no default."""
    sha256 = number.to_bytes(32, "big")
    return {"account_id": account_id, "thread_id": thread_id, "sha256": sha256, "size": number, "date": DATE, **more}


def make_messages(account: Account, count: int, **more: Any) -> list[int]:
    """Insert messages, and a thread for them; return the messages' ids."""
    with on_shard(account.pk), lock_account(account.pk):
        thread = Thread.objects.create(account_id=account.pk)
        return Message.objects.bulk_insert([message_row(account.pk, thread.pk, n, **more) for n in range(count)])


def rows_of(account: Account) -> list[Transaction]:
    """Return an account's transactions in order."""
    return list(Transaction.objects.using(alias_at_hand(account.pk)).filter(account_id=account.pk).order_by("seq"))


def kinds(account: Account) -> list[str]:
    """Return what an account's log says, for example "message created"."""
    return [f"{row.get_object_type_display()} {row.get_kind_display()}" for row in rows_of(account)]
