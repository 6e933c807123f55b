"""An account on the project's own IMAP server: for mail and answers that no real server would give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from project.demo.server import DemoServer
from sync.services import sessions
from tests.servers.mailbox import MailUser
from tests.sync.conftest import Connected, connect


@contextmanager
def connected_demo() -> Iterator[tuple[DemoServer, Connected]]:
    """Start a server, connect its user; all is closed at the end."""
    with DemoServer() as server:
        user = MailUser(server.username, server.password, server.host, server.port, None, None)
        connected = connect(user)
        try:
            yield server, connected
        finally:
            sessions.close_idle(older_than=0)
            connected.server.close()
