"""Processes killed and stopped in the middle of a first mirror: it ends equal to the server, within seconds.

The moments are random: `--hypothesis-seed` names others, as `make soak` does.
"""

from __future__ import annotations

import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from project.postgres.limits import IDLE_IN_TRANSACTION_SECONDS
from tests.project.running import ROOT, wait_until
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox, MailUser
from tests.whole.running import Whole

pytestmark = [pytest.mark.faults, pytest.mark.server("dovecot"), pytest.mark.timeout(240)]

MESSAGES = 1500
#: Messages that come when a first mirror ends too early for its test.
MORE = 400
FOLDERS = ("INBOX", "Archive", "Archive/2025", "Lists", "Sent", "Été")
#: Seconds that a message may take to be in the API once whatever was killed is back, on a busy machine.
SECONDS = 20.0
#: Seconds for the rest of a first mirror.
PATIENCE = 60.0
#: In `make test`.
SEED = 20_251


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """The moments of this test."""
    given = request.config.getoption("--hypothesis-seed", default=None)
    return random.Random(f"{SEED if given is None else given} {request.node.name}")


@dataclass
class Mirroring:
    """A mailbox of which the first mirror is under way."""

    whole: Whole
    mailbox: Mailbox
    grant: str
    email: str
    #: Messages that came to the MESSAGES of the beginning.
    more: int = 0

    def wait_until_mirrored(self, count: int) -> None:
        """Return when so many messages are there."""
        assert wait_until(lambda: self.whole.mirrored(self.grant) >= count, PATIENCE), self.whole.installation.log()

    def is_under_way(self) -> bool:
        return self.whole.mirrored(self.grant) < MESSAGES + self.more

    def more_comes(self) -> None:
        """Give the workers more to do."""
        for number in range(MORE):
            self.mailbox.append("INBOX", letter(f"more-{self.more}", number, datetime.now(UTC)))
        self.more += MORE

    def news_come(self, subject: str, seconds: float = SECONDS) -> None:
        """Let a message arrive, and require that the API shows it in time."""
        self.mailbox.append("INBOX", letter(subject, 0, datetime.now(UTC)), date=datetime.now(UTC))
        came = wait_until(lambda: self.whole.shows(self.grant, subject), seconds)
        assert came, (self.whole.progress(self.grant), self.whole.installation.log()[-6000:])

    def ends_equal(self) -> None:
        """Wait for the end of the first mirror; require that it equals the server."""
        self.whole.wait_for_mirror(self.grant, PATIENCE)
        self.whole.check(self.email)


def letter(subject: str, number: int, date: datetime) -> bytes:
    """A short message; every tenth answers the one before."""
    answers = f"In-Reply-To: <{number - 1}.{subject}@example.org>\r\n" if number % 10 == 9 else ""
    return (
        f"From: Ada <ada@example.org>\r\nTo: Bob <bob@example.org>\r\nSubject: {subject}\r\n"
        f"Date: {date:%a, %d %b %Y %H:%M:%S +0000}\r\nMessage-ID: <{number}.{subject}@example.org>\r\n{answers}\r\n"
        f"{f'line {number} ' * (number % 200)}\r\n"
    ).encode()


def fill(mailbox: Mailbox) -> None:
    """Put the messages into their folders: half of them into INBOX, some of them twice, with flags."""
    begin = datetime(2025, 1, 1, tzinfo=UTC)
    for path in FOLDERS:
        if path not in mailbox.folders():
            mailbox.create(path)
    for number in range(MESSAGES):
        path = FOLDERS[0] if number % 2 else FOLDERS[number // 2 % len(FOLDERS)]
        date = begin + timedelta(minutes=number)
        flags = ["\\Seen"] if number % 3 else []
        mailbox.append(path, letter("old", number - number % 50 // 49, date), flags, date)


@pytest.fixture(scope="module")
def model(dovecot: Dovecot) -> MailUser:
    """A mailbox to be copied."""
    user = dovecot.new_user()
    with dovecot.connect(user) as mailbox:
        fill(mailbox)
    return user


@pytest.fixture
def mirroring(whole: Whole, dovecot: Dovecot, model: MailUser) -> Iterator[Mirroring]:
    """A mailbox, connected just now."""
    user = dovecot.new_user()
    email = f"{user.username}@example.org"
    homes = dovecot.directory / "home"
    # with its owner and its times
    subprocess.run(["cp", "-a", homes / model.username, homes / user.username], check=True)
    with dovecot.connect(user) as mailbox:
        grant = whole.connect(user, email)
        yield Mirroring(whole, mailbox, grant, email)
        whole.ask("DELETE", f"/v3/grants/{grant}")


def test_worker_killed_in_the_middle_of_a_batch(mirroring: Mirroring, chance: random.Random) -> None:
    for part in (0, 1):
        mirroring.wait_until_mirrored(chance.randrange(MESSAGES // 3) + part * MESSAGES // 3)
        mirroring.whole.process("worker-sync-1").kill()
    assert mirroring.is_under_way()
    mirroring.news_come("after the worker's death")
    mirroring.ends_equal()


def test_worker_stopped_past_its_lease_writes_nothing_late(mirroring: Mirroring, chance: random.Random) -> None:
    whole, log = mirroring.whole, mirroring.whole.installation.log
    mirroring.wait_until_mirrored(chance.randrange(MESSAGES // 6))
    worker = whole.process("worker-sync-1")
    held = stop_at_work(mirroring, worker, chance, writing=False)
    began = len(log())
    try:
        a_minute_passes(mirroring)
        with another_worker(whole):
            mirroring.news_come("while a worker sleeps")
            whole.wait_for_mirror(mirroring.grant, PATIENCE)
            assert not held & leases(whole, mirroring.grant).keys()
            worker.resume()
            assert wait_until(lambda: log()[began:].count("lease_lost") >= 1, 30), log()[began:]
    finally:
        worker.resume()
    mirroring.news_come("after its awakening")
    mirroring.ends_equal()


def test_worker_stopped_while_it_writes_blocks_its_account_for_seconds(
    mirroring: Mirroring, chance: random.Random
) -> None:
    whole = mirroring.whole
    mirroring.wait_until_mirrored(chance.randrange(MESSAGES // 6))
    worker = whole.process("worker-sync-1")
    stop_at_work(mirroring, worker, chance, writing=True)
    try:
        a_minute_passes(mirroring)
        with another_worker(whole):
            # the database ends the transaction that holds the account's lock, and somebody tries again
            mirroring.news_come("while a worker sleeps", IDLE_IN_TRANSACTION_SECONDS + 2 * SECONDS)
            worker.resume()
    finally:
        worker.resume()
    mirroring.ends_equal()


def leases(whole: Whole, grant: str) -> dict[str, datetime]:
    """Return the tokens by which folders are held at this moment, and until when."""
    rows = whole.sql(
        "SELECT lease_token::text, lease_until FROM sync_syncstate WHERE account_id = %s AND lease_until > now()", grant
    )
    return dict(rows)


def stop_at_work(mirroring: Mirroring, worker: psutil.Process, chance: random.Random, *, writing: bool) -> set[str]:
    """Stop a worker at a moment at which it holds folders, and is `writing` or not; return by which tokens."""
    whole, grant = mirroring.whole, mirroring.grant
    held: set[str] = set()

    def stopped_as_wanted() -> bool:
        if not mirroring.is_under_way():
            # it was faster than we: more to do
            mirroring.more_comes()
        worker.suspend()
        # what it has sent already is done
        time.sleep(0.1)
        before = leases(whole, grant)
        # a worker that runs ends its work, or confirms it, within this
        time.sleep(0.5)
        held.clear()
        held.update(token for token, until in leases(whole, grant).items() if before.get(token) == until)
        if held and bool(whole.sql(WRITING)) == writing:
            return True
        worker.resume()
        # out of step with what it does
        time.sleep(chance.uniform(0, 0.2))
        return False

    assert wait_until(stopped_as_wanted, PATIENCE), f"{whole.mirrored(grant)} are mirrored"
    return held


#: Sessions of workers in a transaction, and with a lock: an account's, most likely.
WRITING = """SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE application_name = 'mailmirror worker' AND state LIKE 'idle in transaction%%'
    AND relation = 'accounts_transactionhead'::regclass AND mode = 'RowShareLock'"""


def a_minute_passes(mirroring: Mirroring) -> None:
    """Let every lease of an account run out, and let what the stopped worker took from the broker count as lost."""
    # Valkey gives it one more message as long as its last question stands
    time.sleep(1.5)
    for table, due in (("sync_syncstate", "next_sync_at"), ("sync_accountsync", "next_look_at")):
        statement = f"UPDATE {table} SET lease_until = now(), queued_at = NULL, {due} = now() WHERE account_id = %s"
        mirroring.whole.sql(f"{statement} AND (lease_token IS NOT NULL OR queued_at IS NOT NULL)", mirroring.grant)


@contextmanager
def another_worker(whole: Whole) -> Iterator[None]:
    """Run one more sync worker on all queues, as on another host."""
    command = [sys.executable, "-m", "project.worker", "sync", "worker-elsewhere"]
    environment = {**whole.installation.environment, "CELERY_SKIP_CHECKS": "1"}
    began = len(whole.installation.log())
    with (whole.installation.data_dir.parent / "up.log").open("ab") as log:
        worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        ready = f"worker-elsewhere@{socket.gethostname()} ready"
        assert wait_until(lambda: ready in whole.installation.log()[began:], PATIENCE)
        yield
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)


def test_postgresql_killed_and_started_again(mirroring: Mirroring, chance: random.Random) -> None:
    whole = mirroring.whole
    mirroring.wait_until_mirrored(chance.randrange(MESSAGES // 2))
    with whole.nobody_restarts():
        postmaster = whole.process("postgres")
        postmaster.kill()
        time.sleep(chance.uniform(0, 2))
        for path in (f"/v3/grants/{mirroring.grant}/messages", "/v3/grants"):
            answer = whole.ask("GET", path)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2"), answer.body
            body = answer.json()
            assert body["error"]["type"] == "api.unavailable"
            assert body["request_id"] == answer.headers["X-Request-Id"]
        ready = whole.ask("GET", "/readyz")
        assert ready.status == 503
        assert set(ready.json()["reasons"]) == {"database", "migrations"}
        assert whole.ask("GET", "/healthz").status == 200
    assert wait_until(lambda: whole.ask("GET", "/readyz").status == 200, SECONDS), whole.installation.log()[-3000:]
    assert mirroring.is_under_way()
    mirroring.news_come("after PostgreSQL's death")
    mirroring.ends_equal()


def test_broker_killed_and_started_again_empty(mirroring: Mirroring, chance: random.Random) -> None:
    whole = mirroring.whole
    mirroring.wait_until_mirrored(chance.randrange(MESSAGES // 2))
    with whole.nobody_restarts():
        whole.process("valkey-server").kill()
        shutil.rmtree(whole.installation.data_dir / "valkey" / "appendonlydir")
        ready = whole.ask("GET", "/readyz")
        assert (ready.status, set(ready.json()["reasons"])) == (503, {"broker"})
        # the mirror is served without it
        assert whole.ask("GET", f"/v3/grants/{mirroring.grant}/messages").status == 200
        time.sleep(chance.uniform(0, 3))
    assert wait_until(lambda: whole.ask("GET", "/readyz").status == 200, SECONDS), whole.installation.log()[-3000:]
    mirroring.news_come("after the broker's death")
    mirroring.ends_equal()
