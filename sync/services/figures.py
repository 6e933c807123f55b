"""What /metrics tells of the mirror, from the database and the broker: counts by shard or queue, never by account."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from urllib.parse import urlsplit

from django.conf import settings
from django.db import connections
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.models import GrantDirectory
from project.shards import alias_of, shards
from project.telemetry.metrics import Collect, Reading, register_collector

#: Seconds that the broker may take to tell how long its queues are.
PATIENCE = 1.0
#: What a worker has taken, and not told the broker to be done (kombu's own name).
UNACKNOWLEDGED = "unacked"

# An account that was never compared whole counts from its connection on.
_ACCOUNTS = """
SELECT coalesce(extract(epoch FROM statement_timestamp() - min(coalesce(sync.last_synced_at, account.created_at))), 0),
       count(*) FILTER (WHERE sync.failures > 0)
FROM accounts_account account JOIN sync_accountsync sync ON sync.account_id = account.id
WHERE account.status = 'valid'
"""
_FOLDERS = """
SELECT count(*), count(*) FILTER (WHERE state.next_sync_at < statement_timestamp() - interval '1 minute')
FROM sync_syncstate state
JOIN sync_folder folder ON folder.id = state.folder_id AND folder.selectable
JOIN accounts_account account ON account.id = state.account_id AND account.status = 'valid'
WHERE state.next_sync_at <= statement_timestamp()
"""
_FAILING = "SELECT count(*) FROM sync_syncstate WHERE failures > 0"
_REMOVALS = "SELECT count(*) FROM sync_removal"
# -1: not counted yet
_LOG_ROWS = "SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'accounts_transaction'::regclass"

#: SQL -> what its columns are: name, help.
_FIGURES: dict[str, list[tuple[str, str]]] = {
    _ACCOUNTS: [
        ("mailmirror_oldest_lag_seconds", "Seconds since the last complete pass of the valid account furthest behind."),
        ("mailmirror_accounts_failing", "Valid accounts whose last look as a whole failed."),
    ],
    _FOLDERS: [
        ("mailmirror_folders_due", "Folders whose time to be compared has come."),
        ("mailmirror_folders_overdue", "Folders whose time came more than a minute ago: workers or beat lag behind."),
    ],
    _FAILING: [("mailmirror_folders_failing", "Folders whose last comparison failed.")],
    _REMOVALS: [("mailmirror_removals_pending", "Removed accounts of which mail is still being deleted.")],
    _LOG_ROWS: [("mailmirror_log_rows", "Rows of the transaction log not pruned yet, as the planner estimates.")],
}


def register() -> None:
    """Have /metrics tell these figures; a shard or a broker that is down hides no other."""
    register_collector(accounts)
    register_collector(queues)
    for shard in shards():
        register_collector(_of_shard(shard))


def accounts() -> Iterable[Reading]:
    """Count the accounts of each status, by shard; statuses that nobody has are told as well."""
    with connections["default"].cursor() as cursor:
        cursor.execute(f"SELECT account_id >> 48, status, count(*) FROM {GrantDirectory._meta.db_table} GROUP BY 1, 2")
        found = {(shard, status): count for shard, status, count in cursor.fetchall()}
    counts = {(shard, status): 0 for shard in shards() for status in ("valid", "invalid", "paused")} | found
    for (shard, status), count in counts.items():
        labels = {"shard": str(shard), "status": status}
        yield Reading("mailmirror_accounts", "Connected accounts.", count, labels)


def _of_shard(shard: int) -> Collect:
    def shard_figures() -> Iterable[Reading]:
        with connections[alias_of(shard)].cursor() as cursor:
            for sql, columns in _FIGURES.items():
                cursor.execute(sql)
                for (name, told), value in zip(columns, cursor.fetchone(), strict=True):
                    yield Reading(name, told, float(value), {"shard": str(shard)})

    return shard_figures


def queues() -> Iterable[Reading]:
    """Tell how many tasks wait in each queue, where the broker is a Redis."""
    if urlsplit(settings.CELERY_BROKER_URL).scheme not in ("redis", "rediss", "unix"):
        return
    names = [f"{kind}.{number}" for kind in ("sync", "backfill") for number in range(settings.SYNC_PARTITIONS)]
    names.append("maintenance")
    broker = Redis.from_url(
        settings.CELERY_BROKER_URL,
        socket_timeout=PATIENCE,
        socket_connect_timeout=PATIENCE,
        retry=Retry(NoBackoff(), 0),
    )
    with closing(broker), broker.pipeline(transaction=False) as asked:
        for name in names:
            asked.llen(name)
        asked.hlen(UNACKNOWLEDGED)
        *lengths, unacknowledged = asked.execute()
    for name, length in zip(names, lengths, strict=True):
        yield Reading("mailmirror_queue_length", "Tasks that wait in a queue.", length, {"queue": name})
    yield Reading("mailmirror_tasks_unacknowledged", "Tasks that workers have taken and not finished.", unacknowledged)
