from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from imapclient import IMAPClient

from project.demo.server import DemoServer
from tests.project.demo.lines import LineClient


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer() as running:
        yield running


@pytest.fixture
def connect(server: DemoServer) -> Iterator[Callable[[], IMAPClient]]:
    """Open IMAPClient connections, logged in; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_client() -> IMAPClient:
            client = IMAPClient("127.0.0.1", server.port, ssl=False, timeout=10)
            stack.callback(client.shutdown)
            client.login(server.username, server.password)
            return client

        yield open_client


@pytest.fixture
def lines(server: DemoServer) -> Iterator[LineClient]:
    """A connection that speaks plain lines, logged in."""
    with LineClient(server.port) as client:
        client.login(server.username, server.password)
        yield client
