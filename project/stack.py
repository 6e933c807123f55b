"""The whole on one machine: the Procfile's processes beside the embedded servers, until told to stop."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from django.conf import settings

from project.commands import SERVING
from project.embedded import record_of
from project.procfile import Process, environment, processes
from project.supervision import Supervisor
from project.telemetry.metrics import clean_metrics

#: Seconds between two looks at the processes.
LOOK = 0.1
#: Seconds that one look at the API, and one at the workers, may take.
PATIENCE = 2.0
#: Seconds of the first look at the workers; those that do not answer are looked at longer each time.
FIRST_PATIENCE = 0.2


class Stopped(Exception):
    """We were told to stop."""


class Stack:
    """The processes of one installation, under supervision."""

    def __init__(
        self, say: Callable[[str], object], *, beside: Sequence[Process] = (), logs: Path | None = None
    ) -> None:
        """`say` takes lines for the operator; `beside` runs too; `logs` None: everything goes to standard error."""
        self.say = say
        self.supervisor = Supervisor(
            [*beside, *processes()], environment(), settings.BASE_DIR, record_of(settings.DATA_DIR), logs
        )
        #: How often we were told to stop.
        self.told = 0
        #: Workers that have not answered yet, while we wait for them; how long we listen for them next.
        self.missing = {process.node for process in self.supervisor.processes if process.node is not None}
        self.patience = FIRST_PATIENCE

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run every process; stop all of them at the end, however it comes. Stopped, when told to, ends it well."""
        before = {number: signal.signal(number, self.hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            clean_metrics()
            self.supervisor.start()
            yield
        except Stopped:
            pass
        finally:
            already = self.told
            killed = self.supervisor.stop(hurry=lambda: self.told > max(already, 1))
            if killed:
                self.say(f"had to be killed: {', '.join(killed)}")
            for number, handler in before.items():
                signal.signal(number, handler)

    def hear(self, _number: int, _frame: FrameType | None) -> None:
        """Be told to stop; a second time: at once."""
        self.told += 1

    def tend(self, seconds: float = LOOK) -> None:
        """Restart what died, the embedded servers first, then let time pass. Raises Stopped when told to stop."""
        deadline = time.monotonic() + seconds
        while not self.told:
            for servers in SERVING:
                servers.revive(self.say)
            self.supervisor.revive(self.say)
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(LOOK, left))
        raise Stopped

    def wait_until_ready(self) -> None:
        """Return when the API answers and every worker takes tasks. Raises Stopped."""
        while not self.is_ready():
            self.tend()

    def is_ready(self) -> bool:
        """Whether the API answers, and every worker has said once that it takes tasks."""
        if not api_answers():
            return False
        self.missing -= answering(self.missing, self.patience)
        self.patience = min(2 * self.patience, PATIENCE)
        return not self.missing

    def tend_for_ever(self) -> None:
        """Keep everything running. Raises Stopped when told to stop."""
        while True:
            self.tend(60)


def local_host() -> str:
    """Return the address at which this machine reaches its own API."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)  # noqa: S104 -- compared with


def api_answers() -> bool:
    """Whether the API is there, with its database, broker and migrations."""
    connection = http.client.HTTPConnection(local_host(), settings.PORT, timeout=PATIENCE)
    try:
        # by a name that is always answered to
        connection.request("GET", "/readyz", headers={"Host": "localhost"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def answering(nodes: Collection[str], seconds: float) -> set[str]:
    """Return those of these Celery workers that say within so many seconds that they take tasks."""
    from celery_config import app

    if not nodes:
        return set()
    answers = app.control.ping(destination=sorted(nodes), timeout=seconds, limit=len(nodes)) or []
    return {name for answer in answers for name in answer}
