"""What outlives its server, and its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError

from project.data_dir import kept_port
from project.embedded import record_of
from project.embedded_postgres import DATABASE, USER, PostgresServer
from project.postgres.base import DatabaseWrapper
from tests.project.postgres.asking import backend
from tests.project.postgres.conftest import Views


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test's own."""
    with tempfile.TemporaryDirectory(prefix="mailmirror-restart-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        made = PostgresServer(directory, record_of(directory), unsafe=True)
        made.start()
        yield made
        made.stop()


def on(server: PostgresServer, wrapper: DatabaseWrapper) -> DatabaseWrapper:
    """Return a view of that server's database."""
    wrapper.settings_dict |= {"NAME": DATABASE, "USER": USER, "PASSWORD": server.password(), "HOST": "127.0.0.1"}
    wrapper.settings_dict["PORT"] = str(kept_port(server.data_dir, "postgres"))
    return wrapper


@pytest.mark.faults
def test_next_use_after_a_restart_of_the_server_reconnects(server: PostgresServer, view: Views) -> None:
    idle, used = on(server, view()), on(server, view())
    before = {backend(idle), backend(used)}
    idle.close()
    assert server.child is not None
    server.child.send_signal(signal.SIGKILL)
    server.child.wait()
    with pytest.raises(OperationalError):
        backend(used)
    with pytest.raises(OperationalError):
        backend(idle)
    server.start()
    # neither raises again
    assert not {backend(idle), backend(used)} & before


def test_forked_child_leaves_the_connections_to_its_parent() -> None:
    command = [sys.executable, "-m", "tests.project.postgres.forked"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    saw = json.loads(done.stdout)
    assert saw["child"] == 0
    assert saw["after"] == saw["before"]
