"""A running stack seen from outside: its API, its database, its processes."""

from __future__ import annotations

import base64
import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg2

from project.data_dir import kept_port, secret_path
from project.env import kept_secret
from tests.project.running import Installation, wait_until
from tests.servers.mailbox import MailUser


@dataclass
class Answer:
    """What HTTP said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Whole:
    """An installation with its `up`, and a key for its API."""

    installation: Installation
    up: subprocess.Popen[str]
    key: str

    # HTTP

    def ask(self, method: str, path: str, body: Any = None, *, port: int | None = None, login: str = "") -> Answer:
        """Make one request: with our key, or with the basic `login` user:password."""
        way = f"Basic {base64.b64encode(login.encode()).decode()}" if login else f"Bearer {self.key}"
        connection = http.client.HTTPConnection("127.0.0.1", port or self.installation.port, timeout=30)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Authorization": way, "Content-Type": "application/json"})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def connect(self, user: MailUser, email: str) -> str:
        """Connect a mailbox of a test server; return the grant id."""
        settings = {
            "email": email, "imap_username": user.username, "imap_password": user.password,
            "imap_host": user.host, "imap_port": user.port, "imap_security": "none",
        }  # fmt: skip
        answer = self.ask("POST", "/v3/connect/custom", {"provider": "imap", "settings": settings})
        assert answer.status == 201, answer.body
        return str(answer.json()["data"]["id"])

    def progress(self, grant: str) -> dict[str, Any]:
        """Return how far a mirror is."""
        answer = self.ask("GET", f"/v3/grants/{grant}/sync")
        assert answer.status == 200, answer.body
        data: dict[str, Any] = answer.json()["data"]
        return data

    def shows(self, grant: str, subject: str) -> bool:
        """Whether the newest message in the API has this subject."""
        answer = self.ask("GET", f"/v3/grants/{grant}/messages?limit=1&select=id,subject")
        return answer.status == 200 and [one["subject"] for one in answer.json()["data"]] == [subject]

    # Database

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in the database, as its owner; return its rows."""
        data_dir = self.installation.data_dir
        connection = psycopg2.connect(
            dbname="mailmirror",
            user="mailmirror",
            password=kept_secret(secret_path(data_dir, "postgres")),
            host="127.0.0.1",
            port=kept_port(data_dir, "postgres"),
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def mirrored(self, grant: str) -> int:
        """Return how many copies of messages are mirrored."""
        return int(self.sql("SELECT count(*) FROM sync_foldermessage WHERE account_id = %s", grant)[0][0])

    # Processes

    def process(self, word: str) -> psutil.Process:
        """Return the oldest process of ours whose command line has an argument that ends so; waits for it."""
        found: list[psutil.Process] = []

        def look() -> bool:
            found[:] = [one for one in self.installation.processes() if says(one, word)]
            return bool(found)

        assert wait_until(look, 30), f"no {word}: {self.installation.log()[-3000:]}"
        return min(found, key=lambda one: one.create_time())

    @contextmanager
    def nobody_restarts(self) -> Iterator[None]:
        """Hold `up` still: what dies meanwhile stays dead until the end."""
        self.up.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.up.send_signal(signal.SIGCONT)

    def check(self, email: str) -> None:
        """Require that the mirror equals the server and the log the tables, message by message, byte by byte."""
        done = self.installation.run("check_mirror", email, "--json", "--contents")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["differences"] == []

    def wait_for_mirror(self, grant: str, patience: float) -> None:
        """Wait until the first mirror is whole."""
        whole = wait_until(lambda: self.progress(grant)["state"] == "idle", patience)
        assert whole, (self.progress(grant), self.installation.log()[-4000:])


def says(process: psutil.Process, word: str) -> bool:
    """Whether an argument of a process's command line ends so; it may have died meanwhile."""
    try:
        return any(part.endswith(word) for part in process.cmdline()[:6])
    except psutil.NoSuchProcess:
        return False
