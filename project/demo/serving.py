"""The server itself: sockets, sessions, and a thread of its own for tests that are not asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from project.demo.direct import DirectAccess
from project.demo.faults import Faults, Script
from project.demo.mailbox import fill
from project.demo.session import Account, Session
from project.demo.spool import Spool
from project.demo.store import Store
from project.demo.wire import Command

log = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Bytes of the longest line we read; a long set of UIDs fits.
LONGEST_LINE = 4 << 20


class Host:
    """What all sessions of a server share."""

    def __init__(self, accounts: dict[str, Account]) -> None:
        self.accounts = accounts
        self.script = Script(Faults())
        #: STARTTLS is offered with this context; None: not offered.
        self.starttls: ssl.SSLContext | None = None
        #: True: no login before TLS.
        self.require_tls = False
        self.connections = 0
        #: Connections that are in IDLE.
        self.idlers = 0
        #: The last commands, `UID FETCH 1:* (FLAGS)` and so on, without tags, literals and secrets.
        self.heard: deque[str] = deque(maxlen=10_000)

    def note(self, command: Command, line: bytes) -> None:
        """Keep a command for tests to look at."""
        if command.name in ("LOGIN", "AUTHENTICATE"):
            self.heard.append(command.name)
            return
        first = line.split(b"\r\n", 1)[0][:2000].decode("utf-8", "replace").strip()
        self.heard.append(first.partition(" ")[2])


class DemoServer(DirectAccess):
    """An IMAP server with one mailbox store per user, on 127.0.0.1.

    In a test: `with DemoServer() as server:` (a thread of its own) or `async with DemoServer() as server:`.
    `directory`: each folder below it is a mailbox, and each .eml file dropped there arrives at once.
    `sample`: begin with the sample mailbox where there is no mail yet.
    `tls` alone: TLS from the first byte; with `starttls`: after STARTTLS, and no login before it where `require_tls`.
    """

    def __init__(
        self,
        username: str = "demo",
        password: str = "demo-password",  # noqa: S107  a test server's, on loopback
        *,
        store: Store | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        directory: Path | None = None,
        tls: ssl.SSLContext | None = None,
        starttls: bool = False,
        require_tls: bool = False,
        sample: bool = False,
    ) -> None:
        self.username, self.password = username, password
        self.host, self.port = host, port
        self.store = store or Store()
        self._shared = Host({username: Account(username, password, self.store)})
        self._shared.starttls = tls if starttls else None
        self._shared.require_tls = require_tls
        self._implicit_tls = None if starttls else tls
        self._spool = Spool(directory, self.store) if directory is not None else None
        self._sample = sample
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._sessions: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._watch: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    # In an event loop

    async def open(self) -> Self:
        """Listen; `port` is known afterwards."""
        self._loop = asyncio.get_running_loop()
        if self._spool is not None:
            self._spool.load()
        if self._sample and self.store.is_empty():
            fill(self.store, datetime.now(UTC))
        if self._spool is not None:
            self._spool.save(clean=False)
            self._watch = asyncio.create_task(self._spool.watch())
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, limit=LONGEST_LINE, ssl=self._implicit_tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Stop listening, cut all connections, write the directory."""
        assert self._server is not None, "closed before it was open"
        self._server.close()
        self._cut_all()
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*self._sessions, *filter(None, [self._watch]), return_exceptions=True)
        await self._server.wait_closed()
        if self._spool is not None:
            self._spool.save(clean=True)
        self._loop = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "called by the event loop"
        self._sessions[task] = writer
        self._shared.connections += 1
        try:
            await Session(self._shared, reader, writer).run()
        except asyncio.CancelledError:
            log.debug("session cut by the server")
        finally:
            self._shared.connections -= 1
            del self._sessions[task]
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
                await writer.wait_closed()

    def _cut_all(self) -> None:
        for task, writer in self._sessions.items():
            writer.transport.abort()
            task.cancel()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # In a thread

    def start(self) -> Self:
        """Serve from a thread; returns once connections are taken. Raises OSError when the port is not to be had."""
        opened = threading.Event()
        failed: list[BaseException] = []

        async def serve() -> None:
            self._stop = asyncio.Event()
            try:
                await self.open()
            except OSError as error:
                failed.append(error)
                return
            finally:
                opened.set()
            await self._stop.wait()
            await self.close()

        self._thread = threading.Thread(target=asyncio.run, args=(serve(),), name="demo-imap", daemon=True)
        self._thread.start()
        opened.wait()
        if failed:
            raise failed[0]
        return self

    def stop(self) -> None:
        """End what `start` began. Does nothing when it is not running."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # For tests

    @property
    def faults(self) -> Faults:
        """What goes wrong at present; assign another value to change it."""
        return self._shared.script.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        def set_script() -> None:
            self._shared.script = Script(faults)

        self.call(set_script)

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return self._shared.connections

    @property
    def idlers(self) -> int:
        """Connections that are in IDLE now."""
        return self._shared.idlers

    @property
    def heard(self) -> list[str]:
        """The last commands, oldest first, without tags and secrets."""
        return self.call(lambda: list(self._shared.heard))

    def forget_heard(self) -> None:
        """Start the list of commands anew."""
        self.call(self._shared.heard.clear)

    def kick(self) -> None:
        """Cut all connections without a word."""
        self.call(self._cut_all)

    def add_user(self, username: str, password: str, store: Store | None = None) -> Store:
        """Let another user log in; returns the mailboxes."""
        account = Account(username, password, store or Store())
        self._shared.accounts[username] = account
        return account.store

    def change_password(self, password: str) -> None:
        """Give the first user another password; sessions stay."""
        self.password = password
        self._shared.accounts[self.username] = Account(self.username, password, self.store)

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the server's thread and return what it returns."""
        loop = self._loop
        if loop is None or (self._thread is None) or threading.current_thread() is self._thread:
            return function()

        async def run() -> _T:
            return function()

        coroutine: Coroutine[Any, Any, _T] = run()
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
