"""Commands of manage.py beside a stack that runs, and beside none."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psycopg2
import pytest

from project.data_dir import kept_port, secret_path
from project.env import kept_secret
from project.occupancy import Occupancy, Occupied
from tests.project.running import ROOT, Installation, first_line, wait_until

WAIT_FOR_INPUT = "import sys; print('here', flush=True); sys.stdin.readline(); print('done')"


@pytest.fixture
def waiting(installation: Installation) -> Iterator[subprocess.Popen[str]]:
    """A command that works with the database until it gets a line."""
    command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", WAIT_FOR_INPUT]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=installation.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert first_line(process.stdout, 60) == "here\n"
        yield process
        process.kill()


def test_command_without_a_stack_has_its_own_and_leaves_nothing(installation: Installation) -> None:
    done = installation.run("create_api_key", "mine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert installation.processes() == []


def test_commands_that_run_at_once_share_what_the_first_started(
    installation: Installation, waiting: subprocess.Popen[str]
) -> None:
    assert installation.run("create_api_key", "mine").returncode == 0
    # the first one's servers are still there
    assert waiting.poll() is None
    refused = installation.run("up")
    assert refused.returncode == 1
    assert refused.stderr == f"{installation.data_dir} is in use: manage.py shell (pid {waiting.pid}) runs on it\n"
    assert waiting.communicate("go on\n")[0] == "done\n"
    assert installation.processes() == []


def test_command_that_is_told_to_stop_stops_what_it_started(
    installation: Installation, waiting: subprocess.Popen[str]
) -> None:
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(30) == 128 + signal.SIGINT
    assert installation.processes() == []


def test_what_a_killed_command_started_dies_with_it(installation: Installation, waiting: subprocess.Popen[str]) -> None:
    assert len(installation.processes()) > 2
    waiting.kill()
    waiting.wait()
    assert wait_until(lambda: installation.processes() == [])


def test_following_changes_needs_a_stack_that_runs(installation: Installation) -> None:
    done = installation.run("changes", "1", "--follow")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "start it with: manage.py up" in done.stderr


def test_lock_of_an_owner_that_died_is_free(installation: Installation) -> None:
    occupancy = Occupancy(installation.data_dir, "up")
    second = Occupancy(installation.data_dir, "up").own()
    with occupancy.own(), pytest.raises(Occupied, match=r"manage\.py up \(pid \d+\) runs on it"), second:
        pass
    # what it announced is still there, as after kill -9; its lock is not
    occupancy.announce(serving=True)
    assert occupancy.running() is None


def test_outside_database_that_knows_only_ascii_is_refused_with_the_remedy(
    installation: Installation, waiting: subprocess.Popen[str]
) -> None:
    password = kept_secret(secret_path(installation.data_dir, "postgres"))
    port = kept_port(installation.data_dir, "postgres")
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user="mailmirror", password=password, dbname="mailmirror"
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE ascii ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")
    connection.close()
    outside = Installation(
        installation.data_dir.parent / "outside",
        DATABASE_URL=f"postgresql://mailmirror:{password}@127.0.0.1:{port}/ascii",
        SECRET_KEY="s" * 50,
        ENCRYPTION_KEYS="e" * 50,
        FLOWER_AUTH="user:password",
    )
    refused = outside.run("up")
    assert refused.returncode == 2
    assert refused.stderr.startswith("DATABASE_URL: the database cannot be used: its locale knows only the letters")
    assert "LOCALE 'C.UTF-8'" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert outside.processes() == []


def test_port_that_another_program_has_is_refused(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = installation.run("up", PORT=str(port))
    assert refused.returncode == 2
    assert refused.stderr == f"PORT={port}: another program listens there; allowed: a free port\n"
    assert installation.processes() == []
