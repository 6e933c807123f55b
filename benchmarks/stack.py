"""Mailmirror as its users run it, `manage.py up`, in a directory of its own, and a real Dovecot beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import cursor

from project.data_dir import kept_port, secret_path
from project.demo.client import Api
from project.env import kept_secret
from tests.servers.mailbox import MailUser
from tests.servers.processes import free_ports

ROOT = Path(__file__).resolve().parent.parent
#: Settings of the caller's that would lead to other servers than the stack's own.
OUTSIDE = ("SHARD_", "DATABASE_", "REDIS_", "CELERY_", "BLOB_")
#: Seconds until the stack answers.
START = 120.0


@dataclass(frozen=True, slots=True)
class RunningStack:
    """One installation that runs."""

    data_dir: Path
    api: Api
    #: Of `up`: everything of ours is below it.
    pid: int
    environment: dict[str, str]

    @contextmanager
    def database(self) -> Iterator[cursor]:
        """Speak to its PostgreSQL directly, each statement by itself."""
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=kept_port(self.data_dir, "postgres"),
            user="mailmirror",
            password=kept_secret(secret_path(self.data_dir, "postgres")),
            dbname="mailmirror",
        )
        connection.autocommit = True
        try:
            with connection.cursor() as opened:
                yield opened
        finally:
            connection.close()


@contextmanager
def running_stack() -> Iterator[RunningStack]:
    """Run `up` in a new directory until the block ends."""
    port, flower = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="mailmirror-bench-") as name:
        environment = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(("SHARD_", "DATABASE_", "REDIS_"))
            },
            "DATA_DIR": name,
            "PORT": str(port),
            "FLOWER_PORT": str(flower),
            "ALLOWED_PRIVATE_NETWORKS": "127.0.0.0/8",
            "LOG_LEVEL": "warning",
        }
        with (Path(name) / "up.out").open("wb") as out, (Path(name) / "up.log").open("wb") as log:
            up = subprocess.Popen(
                [sys.executable, "manage.py", "up"], cwd=ROOT, env=environment, stdout=out, stderr=log
            )
            try:
                _wait_until_ready(up, Path(name))
                key = _manage(environment, "create_api_key", "benchmark").strip()
                yield RunningStack(Path(name), Api("127.0.0.1", port, key), up.pid, environment)
            finally:
                up.terminate()
                up.wait(60)
        home = (Path(name) / "postgres").resolve()
        if home.is_relative_to("/var/lib/mailmirror"):
            subprocess.run(["rm", "-rf", "--", home], check=True)


def _wait_until_ready(up: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + START
    while not (directory / "up.out").read_text().startswith("ready "):
        if up.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the stack did not start:\n{(directory / 'up.log').read_text()[-2000:]}")
        time.sleep(0.1)


def _manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def settings_of(user: MailUser) -> dict[str, object]:
    """Return what `POST /v3/connect/custom` takes for a mailbox of a test server."""
    return {
        "imap_host": user.host,
        "imap_port": user.port,
        "imap_security": "none",
        "imap_username": user.username,
        "imap_password": user.password,
        "email": f"{user.username}@example.org",
    }
