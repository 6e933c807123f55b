"""Greenlets of one thread write to one account at a time, each under a lock of its own connection."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from accounts.changelog.reader import read_changes
from tests.accounts.changelog.rows import ALIASES, make_account, rows_of

WRITERS, COMMITS = 4, 10
PROGRAM = f"""
from gevent import monkey
monkey.patch_all()
import gevent
import django
django.setup()
from accounts.changelog.locks import LockOrder
from accounts.changelog.recorder import lock_account
from django.db import connection
from sync.models import Thread

def write():
    try:
        for _ in range({COMMITS}):
            with lock_account(ACCOUNT):
                # another greenlet runs here and must wait for the head, not pass for its holder
                connection.cursor().execute("SELECT pg_sleep(0.002)")
                Thread.objects.bulk_insert([{{"account_id": ACCOUNT}}, {{"account_id": ACCOUNT}}])
                Thread.objects.create(account_id=ACCOUNT)
    finally:
        connection.close()

gevent.joinall([gevent.spawn(write) for _ in range({WRITERS})], raise_error=True)
"""


@pytest.mark.django_db(transaction=True, databases=ALIASES)
def test_greenlets_wait_for_the_head_and_leave_no_gap() -> None:
    account = make_account()
    database = connection.settings_dict
    login = f"{database['USER']}:{quote(database['PASSWORD'], safe='')}"
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgresql://{login}@{database['HOST']}:{database['PORT']}/{database['NAME']}",
        "REDIS_URL": settings.REDIS_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "FLOWER_AUTH": settings.FLOWER_AUTH,
    }
    program = PROGRAM.replace("ACCOUNT", str(account.pk))
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [row.seq for row in rows_of(account)] == list(range(1, 2 + WRITERS * COMMITS * 3))
    page = read_changes(account.pk, 1, 500)
    assert len(page.rows) == WRITERS * COMMITS * 3
    threads = [change.object_id for change in page.rows]
    assert threads == sorted(threads), "commits of greenlets ran into each other"
