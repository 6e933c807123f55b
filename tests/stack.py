"""A PostgreSQL and a Valkey for the tests: started before the settings are read, stopped when pytest ends.

Loaded by `-p tests.stack`. MAILMIRROR_TEST_DATA_DIR names a directory to use again; else a new temporary one is used.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from project.data_dir import kept_port, secret_path
from project.embedded import EmbeddedServers
from project.env import kept_secret


def start() -> None:
    """Start both in a directory of this run's own, and tell the settings where."""
    given = os.environ.get("MAILMIRROR_TEST_DATA_DIR")
    data_dir = Path(given) if given else Path(tempfile.mkdtemp(prefix="mailmirror-test-"))
    data_dir.mkdir(parents=True, exist_ok=True)
    for name in list(os.environ):
        if name.startswith("SHARD_") or name in ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL"):
            del os.environ[name]
    os.environ["DATA_DIR"] = str(data_dir)
    os.environ["ALLOWED_PRIVATE_NETWORKS"] = "127.0.0.0/8,::1/128"
    servers = EmbeddedServers(data_dir, unsafe=True)
    servers.start()
    password = kept_secret(secret_path(data_dir, "postgres"))
    port = kept_port(data_dir, "postgres")
    os.environ["SHARD_1_URL"] = f"postgresql://mailmirror:{password}@127.0.0.1:{port}/mailmirror_shard_1"
    atexit.register(stop, servers, None if given else data_dir)


def stop(servers: EmbeddedServers, made: Path | None) -> None:
    """Stop both; remove the directory that was made for them."""
    servers.stop()
    if made is not None:
        home = (made / "postgres").resolve()
        shutil.rmtree(made, ignore_errors=True)
        if home.is_relative_to("/var/lib/mailmirror"):
            shutil.rmtree(home.parent if home.name == "data" else home, ignore_errors=True)


start()
