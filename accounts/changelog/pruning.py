"""Forgetting what is older than the retention: transactions, notices, and heads of accounts long gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.apps import apps
from django.db import connections
from django.db.models import Exists, F, Max, OuterRef

from accounts.changelog.locks import allow_unlogged
from accounts.changelog.models import Notice, Transaction, TransactionHead
from project.shards import alias_at_hand

#: Rows a statement.
SLICE = 10_000


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much was forgotten."""

    transactions: int
    notices: int
    heads: int


def prune(before: datetime) -> Pruned:
    """Forget what was recorded before a moment, in the shard at hand. May be stopped at any time, and run again."""
    alias = alias_at_hand()
    old = Transaction.objects.using(alias).filter(recorded_at__lt=before)
    transactions = 0
    for account_id, seq in old.order_by().values_list("account_id").annotate(Max("seq")):
        # readers are told first: from here on an older cursor is refused, whatever rows are still there
        TransactionHead.objects.using(alias).filter(pk=account_id, pruned_seq__lt=seq).update(pruned_seq=seq)
        transactions += _delete_up_to(alias, account_id, seq)
    return Pruned(transactions, _forget_notices(alias, before), _forget_heads(alias))


def _delete_up_to(alias: str, account_id: int, seq: int) -> int:
    count = 0
    while True:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "DELETE FROM accounts_transaction WHERE account_id = %(account)s AND seq = ANY(ARRAY("
                " SELECT seq FROM accounts_transaction WHERE account_id = %(account)s AND seq <= %(seq)s"
                " ORDER BY seq LIMIT %(limit)s))",
                {"account": account_id, "seq": seq, "limit": SLICE},
            )
            deleted: int = cursor.rowcount
        count += deleted
        if deleted < SLICE:
            return count


def _forget_notices(alias: str, before: datetime) -> int:
    count = 0
    while True:
        with allow_unlogged("notices are pruned with the log", using=alias):
            old = Notice.objects.using(alias).filter(noticed_at__lt=before)
            ids = list(old.values_list("pk", flat=True)[:SLICE])
            count += Notice.objects.using(alias).filter(pk__in=ids).delete()[0]
        if len(ids) < SLICE:
            return count


def _forget_heads(alias: str) -> int:
    """Drop heads without an account whose log is pruned to the end."""
    account = apps.get_model("accounts", "Account")._base_manager.filter(pk=OuterRef("pk"))
    bare = TransactionHead.objects.using(alias).filter(~Exists(account), pruned_seq=F("last_seq"))
    return bare.delete()[0]
