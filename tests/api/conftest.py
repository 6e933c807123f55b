"""An application with a key, and mailboxes in each shard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client

from accounts.keys import create_api_key
from accounts.models import Application
from accounts.services import default_application
from tests.api.client import Api
from tests.api.mailbox import Mailroom, make_mailroom
from tests.servers.processes import free_ports

ALIASES = ["default", "shard_1"]


@pytest.fixture
def application(db: None) -> Application:
    return default_application()


@pytest.fixture
def key(application: Application) -> str:
    return create_api_key(application=application, name="tests")


@pytest.fixture
def api(key: str) -> Api:
    """A caller with every scope."""
    return Api(key, Client(raise_request_exception=False))


@pytest.fixture(params=[0, 1], ids=["shard 0", "shard 1"])
def room(request: pytest.FixtureRequest, application: Application) -> Mailroom:
    """A mailbox, in each shard."""
    return make_mailroom(application, shard=request.param)


def database_url(alias: str) -> str:
    """Return where a test database is found."""
    at = connections[alias].settings_dict
    return f"postgresql://{at['USER']}:{quote(at['PASSWORD'])}@{at['HOST']}:{at['PORT']}/{at['NAME']}"


def environment_of_others() -> dict[str, str]:
    """What a process beside the tests gets, so that it works on the test databases with the same secrets."""
    return os.environ | {
        "DATABASE_URL": database_url("default"),
        "SHARD_1_URL": database_url("shard_1"),
        "REDIS_URL": settings.REDIS_URL,
        "SECRET_KEY": settings.SECRET_KEY,
        "ENCRYPTION_KEYS": ",".join(settings.ENCRYPTION_KEYS),
        "FLOWER_AUTH": settings.FLOWER_AUTH,
    }


@pytest.fixture(scope="session")
def served(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Gunicorn on the test databases, as `up` runs it; gives its base URL."""
    (port,) = free_ports(1)
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    environment = environment_of_others() | {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "PROCESS_ROLE": "web",
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "python:project.gunicorn", "project.wsgi"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(log.read_text(errors="replace"))
