"""Celery as we set it up: a lost broker costs latency only, and workers end in order. On a real Valkey."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from kombu.exceptions import OperationalError

from celery_config import app, transport_options
from project.data_dir import kept_port, secret_path
from project.embedded import record_of
from project.embedded_valkey import ValkeyServer
from project.env import kept_secret

CONCURRENCY = 20


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """Ask until the answer is yes; False: it was no for so long."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@dataclass
class Bench:
    """A broker and a worker of this test's own."""

    broker: ValkeyServer
    url: str
    directory: Path
    worker: subprocess.Popen[bytes] | None = None

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker and wait until it takes tasks."""
        celery = str(Path(sys.executable).with_name("celery"))
        arguments = ["--include", "tests.napping", "--pool", "gevent", "--concurrency", str(CONCURRENCY)]
        arguments += ["--queues", "sync.0,backfill.0", "--task-events", "--without-gossip", "--without-mingle"]
        with (self.directory / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [celery, "--app", "celery_config", "worker", *arguments],
                env={**os.environ, "CELERY_BROKER_URL": self.url, "PROCESS_ROLE": "worker"},
                stdout=log,
                stderr=log,
            )
        self.send("ready", 0)
        assert wait_until(lambda: "ready" in self.done(), 30), self.log()
        return self.worker

    def send(self, name: str, seconds: float, queue: str = "sync.0") -> None:
        """Enqueue a nap."""
        arguments = {"seconds": seconds, "path": str(self.directory / "done"), "name": name}
        with app.connection_for_write(url=self.url) as connection:
            app.send_task("tests.napping.nap", kwargs=arguments, queue=queue, connection=connection)

    def done(self) -> list[str]:
        """Return the names of the naps that ended."""
        path = self.directory / "done"
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def log(self) -> str:
        """Return what the worker said last."""
        return (self.directory / "worker.log").read_text(encoding="utf-8", errors="replace")[-3000:]

    def kill_broker(self) -> None:
        """Kill the broker; what it held is lost."""
        assert self.broker.child is not None
        self.broker.child.kill()
        self.broker.child.wait()
        shutil.rmtree(self.broker.home / "appendonlydir")


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="mailmirror-broker-") as name:
        directory = Path(name)
        broker = ValkeyServer(directory, record_of(directory))
        broker.start()
        password = kept_secret(secret_path(directory, "valkey"))
        made = Bench(broker, f"redis://:{password}@127.0.0.1:{kept_port(directory, 'valkey')}/0", directory)
        yield made
        if made.worker is not None and made.worker.poll() is None:
            made.worker.kill()
            made.worker.wait()
        broker.stop()


@pytest.mark.faults
def test_busy_worker_goes_on_when_its_broker_comes_back_empty(bench: Bench) -> None:
    bench.start_worker()
    for number in range(CONCURRENCY + 5):
        bench.send(f"busy{number}", 2, "backfill.0")
    time.sleep(1)
    bench.kill_broker()
    # what the worker had in hand is finished, though nobody can be told
    assert wait_until(lambda: sum(name.startswith("busy") for name in bench.done()) == CONCURRENCY, 10), bench.log()
    # longer than redis-py itself tries again
    time.sleep(5)
    bench.broker.start()
    bench.send("after", 0)
    assert wait_until(lambda: "after" in bench.done(), 15), bench.log()


@pytest.mark.faults
def test_idle_worker_goes_on_when_its_broker_comes_back_empty(bench: Bench) -> None:
    bench.start_worker()
    bench.kill_broker()
    time.sleep(2)
    bench.broker.start()
    bench.send("after", 0)
    assert wait_until(lambda: "after" in bench.done(), 15), bench.log()


@pytest.mark.faults
def test_worker_told_to_stop_finishes_what_it_has_and_leaves_the_rest(bench: Bench) -> None:
    worker = bench.start_worker()
    for number in range(CONCURRENCY + 5):
        bench.send(f"nap{number}", 3, "backfill.0")
    time.sleep(1)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20) == 0, bench.log()
    assert sum(name.startswith("nap") for name in bench.done()) == CONCURRENCY
    client = bench.broker.client()
    assert client.llen("backfill.0") == 5
    assert client.hlen("unacked") == 0


@pytest.mark.faults
def test_enqueueing_without_a_broker_fails_at_once(bench: Bench) -> None:
    bench.kill_broker()
    began = time.monotonic()
    with pytest.raises(OperationalError):
        bench.send("lost", 0)
    assert time.monotonic() - began < 2


def test_every_round_of_beat_expires_and_goes_to_the_maintenance_queue() -> None:
    for entry in app.conf.beat_schedule.values():
        assert entry["options"]["queue"] == "maintenance"
        assert entry["options"]["expires"] <= 60
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_each_greenlet_may_tell_the_broker_on_a_connection_of_its_own() -> None:
    assert transport_options("redis://host")["max_connections"] > settings.SYNC_CONCURRENCY
    assert transport_options("amqp://host") == {}
