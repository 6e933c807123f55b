"""Flower shows the tasks of a real run, behind its login."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.project.running import wait_until
from tests.servers.dovecot import Dovecot
from tests.whole.conftest import FLOWER_AUTH
from tests.whole.running import Whole

pytestmark = [pytest.mark.server("dovecot"), pytest.mark.timeout(240)]


def test_the_finished_sync_task_of_a_real_run_is_shown(whole: Whole, dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    with dovecot.connect(user) as mailbox:
        mailbox.append("INBOX", b"Subject: seen in Flower\r\n\r\nhello\r\n")
    port = int(whole.installation.environment["FLOWER_PORT"])
    grant = whole.connect(user, "flower@example.org")
    whole.wait_for_mirror(grant, 60)
    folders = {folder for (folder,) in whole.sql("SELECT id FROM sync_folder WHERE account_id = %s", grant)}

    def finished() -> set[int]:
        query = urlencode({"taskname": "sync.tasks.sync_folder", "state": "SUCCESS"})
        answer = whole.ask("GET", f"/api/tasks?{query}", port=port, login=FLOWER_AUTH)
        assert answer.status == 200, answer.body
        tasks = answer.json().values()
        assert {(task["name"], task["state"]) for task in tasks} <= {("sync.tasks.sync_folder", "SUCCESS")}
        return {json.loads(task["kwargs"].replace("'", '"'))["folder_id"] for task in tasks}

    assert wait_until(lambda: folders <= finished(), 30), (folders, finished())


@pytest.mark.parametrize("path", ["/", "/tasks", "/api/tasks", "/api/workers", "/metrics"])
@pytest.mark.parametrize("login", ["", "watch:wrong", "a word of ours:watch"])
def test_nothing_is_shown_without_the_login(whole: Whole, path: str, login: str) -> None:
    answer = whole.ask("GET", path, port=int(whole.installation.environment["FLOWER_PORT"]), login=login)
    assert answer.status == 401
    assert b"sync.tasks" not in answer.body
