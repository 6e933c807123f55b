"""However long a page is, it costs the same number of queries; and large mailboxes are walked by index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from accounts.changelog.recorder import lock_account
from accounts.changelog.rows import bulk_insert
from accounts.models import Application
from api.cursors import Position
from api.filters import MailFilters, find_messages, find_threads
from project.shards import alias_at_hand, on_shard
from sync.models import FolderMessage, Message, Thread
from tests.accounts.changelog.rows import message_row
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import EPOCH, Mailroom, mail, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the SQL of the block, on every database."""
    found: list[str] = []
    with ExitStack() as stack:
        seen = [stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in ALIASES]
        yield found
        found += [query["sql"] for one in seen for query in one.captured_queries]


@pytest.mark.parametrize(
    ("path", "query", "most"),
    [
        ("messages", {}, 5),
        ("messages", {"select": "subject"}, 3),
        ("messages", {"unread": "true"}, 5),
        ("messages", {"fields": "include_headers"}, 6),
        ("threads", {}, 6),
        ("threads", {"select": "message_ids"}, 4),
        ("folders", {}, 3),
        ("changes", {}, 3),
        ("changes", {"include": "object"}, 16),
        ("changes/latest", {}, 3),
        ("sync", {}, 6),
    ],
)
def test_a_page_costs_the_same_whatever_its_length(
    api: Api, room: Mailroom, path: str, query: dict[str, Any], most: int
) -> None:
    room.add(mail("first"))
    api.get(f"{room.path}/{path}", query)
    counts = []
    for n in range(2):
        for m in range(8):
            room.add(mail(f"{n} {m}", attachments=[("a", "text/plain", b"a")]))
        with counted() as queries:
            api.get(f"{room.path}/{path}", query)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= most, queries


def test_a_list_of_folders_costs_no_query_more(api: Api, room: Mailroom) -> None:
    for n in range(8):
        room.add(mail(f"{n}"), f"{n % 4}")
    api.get(room.path)
    with counted() as queries:
        api.get(f"{room.path}/messages", {"in": [folder.pk for folder in room.folders.values()]})
    # places and messages are read by one statement: what is deleted in between must not end the list
    assert len(queries) <= 5


def test_grants_cost_the_same_however_many(api: Api, application: Application) -> None:
    api.get("/v3/grants")
    counts = []
    for n in range(2):
        for m in range(3):
            make_mailroom(application, f"{n}{m}@example.org", shard=m % 2)
        with counted() as queries:
            api.get("/v3/grants")
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10


@pytest.fixture
def large(room: Mailroom) -> Mailroom:
    """A mailbox of 20,000 messages in two folders, a hundredth of them unread."""
    folders = [room.folder("A").pk, room.folder("B").pk]
    with on_shard(room.id), lock_account(room.id):
        threads = Thread.objects.bulk_insert([{"account_id": room.id} for _ in range(5000)])
        rows = [
            message_row(
                room.id, threads[n % 5000], n, unread=n % 100 == 0, folder_ids=[folders[n % 2]],
                date=EPOCH.replace(microsecond=n),
            )
            for n in range(20_000)
        ]  # fmt: skip
        ids = Message.objects.bulk_insert(rows)
        bulk_insert(
            FolderMessage,
            [
                {
                    "account_id": room.id, "folder_id": folders[n % 2], "message_id": pk, "remote_id": str(n),
                    "date": rows[n]["date"],
                }
                for n, pk in enumerate(ids)
            ],
        )  # fmt: skip
    with on_shard(room.id), connections[alias_at_hand()].cursor() as cursor:
        for table in ("sync_message", "sync_foldermessage", "sync_thread"):
            cursor.execute(f"ANALYZE {table}")
    return room


def test_a_page_in_the_middle_of_a_large_mailbox_reads_few_rows(large: Mailroom) -> None:
    one, two = (folder.pk for folder in large.folders.values())
    middle = Position(10**15, EPOCH.replace(microsecond=10_000))
    with on_shard(large.id):
        for filters in (
            MailFilters(),
            MailFilters(unread=True),
            MailFilters(folders=(one,)),
            MailFilters(folders=(one, two)),
            MailFilters(folders=(one,), unread=True),
        ):
            with counted() as queries:
                found = find_messages(large.id, filters, drafts=False, after=middle, limit=51)
            assert len(found) == 51
            assert found[0].date <= EPOCH.replace(microsecond=10_000)
            assert sum(map(rows_read, queries)) < 2000, (filters, queries)
        with counted() as queries:
            find_threads(large.id, MailFilters(), after=None, limit=51)
        assert sum(map(rows_read, queries)) < 2000


def rows_read(sql: str) -> int:
    """Return how many rows a query reads from tables and indexes, those thrown away included."""
    with connections[alias_at_hand()].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        (plan,) = cursor.fetchone()
    return scanned(plan[0]["Plan"])


def scanned(node: dict[str, Any]) -> int:
    """Add up the scans of a plan."""
    rows = 0
    if "Scan" in node["Node Type"] and "Relation Name" in node:
        rows = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return int(rows) + sum(map(scanned, node.get("Plans", [])))
