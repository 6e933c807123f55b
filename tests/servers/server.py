"""What every test server can do; Dovecot, Cyrus and Courier say how."""

from __future__ import annotations

import shutil
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import ClassVar, Self

from tests.servers.certificates import make_certificate
from tests.servers.mailbox import Mailbox, MailUser
from tests.servers.processes import DEADLINE, ServerProcess, end_process, free_ports, make_directory

#: Of every user of every test server.
PASSWORD = "secret-of-the-tests"
HOST = "127.0.0.1"


class ImapServer(ABC):
    """A server on 127.0.0.1 with everything of it in one temporary directory. A context manager: starts, closes.

    `port` (plain and STARTTLS), `tls_port` and `directory` stay the same over every stop, kill and start.
    """

    name: ClassVar[str]
    port_count: ClassVar[int] = 2
    offers_tls: ClassVar[bool] = True
    #: Seconds it gets to end in order.
    grace: ClassVar[float] = DEADLINE

    def __init__(self) -> None:
        self.directory = make_directory(self.name)
        self.port, *self.more_ports = free_ports(self.port_count)
        self.tls_port = self.more_ports[0] if self.offers_tls else None
        self.certificate, self.key = make_certificate(self.directory)
        self._process: ServerProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start it and wait until it answers. Raises ServerFailed."""
        assert not self.running, f"{self.name} runs already"
        self.configure()
        self._process = self.launch()
        self._process.wait_for(self.port, *([self.tls_port] if self.tls_port else []))

    def stop(self) -> None:
        """End it in order; what it holds stays. Nothing happens when it does not run."""
        if self._process:
            self._process.terminate(grace=self.grace)
        self.kill()

    def kill(self) -> None:
        """End all its processes at once, sessions too; what it holds stays."""
        if self._process:
            self._process.kill()
            self._process = None

    def restart(self) -> None:
        """End and start it again, on the same ports."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it and remove what it holds."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def running(self) -> bool:
        """True while its first process lives."""
        return self._process is not None and self._process.running

    @property
    def process(self) -> ServerProcess:
        """The running server."""
        assert self._process, f"{self.name} does not run"
        return self._process

    def new_user(self) -> MailUser:
        """Make a user with a fresh mailbox."""
        username = f"user-{uuid.uuid4().hex[:12]}"
        self.add_user(username, PASSWORD)
        certificate = self.certificate if self.offers_tls else None
        return MailUser(username, PASSWORD, HOST, self.port, self.tls_port, certificate)

    def connect(self, user: MailUser) -> Mailbox:
        """Log in with the control client; close it, or use it in a `with`."""
        return Mailbox(user)

    def kick(self, user: MailUser) -> None:
        """Cut every session of a user, without a farewell."""
        for pid in self.session_pids(user):
            end_process(pid)

    @abstractmethod
    def configure(self) -> None:
        """Write the files the server reads."""

    @abstractmethod
    def launch(self) -> ServerProcess:
        """Start the server in the foreground."""

    @abstractmethod
    def add_user(self, username: str, password: str) -> None:
        """Let a user log in."""

    @abstractmethod
    def session_pids(self, user: MailUser) -> Iterator[int]:
        """Tell the processes that serve the sessions of a user."""
