"""Fixtures: real servers, started once a session when a test first asks, or for one test alone.

A test whose server is missing is skipped, and fails under CI=true: there a suite without it must not pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import PLAIN_CAPABILITIES, Dovecot
from tests.servers.install import in_ci, tool


def require(name: str) -> None:
    """Skip the test that runs unless the server or tool NAME is there; under CI=true fail it."""
    wanted = tool(name)
    if wanted.present():
        return
    reason = f"{name} is missing; get it with: {wanted.remedy}"
    if in_ci():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Obey the marker `server(NAME)`."""
    for marker in item.iter_markers("server"):
        require(marker.args[0])


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Dovecot with everything it has."""
    require("dovecot")
    with Dovecot() as server:
        yield server


@pytest.fixture(scope="session")
def dovecot_plain() -> Iterator[Dovecot]:
    """Dovecot that tells of no extension but those of old servers."""
    require("dovecot")
    with Dovecot(capabilities=PLAIN_CAPABILITIES) as server:
        yield server


@pytest.fixture(scope="session")
def cyrus() -> Iterator[Cyrus]:
    """Cyrus IMAP."""
    require("cyrus")
    with Cyrus() as server:
        yield server


@pytest.fixture(scope="session")
def courier() -> Iterator[Courier]:
    """Courier IMAP."""
    require("courier")
    with Courier() as server:
        yield server


@pytest.fixture
def start_dovecot() -> Iterator[Callable[..., Dovecot]]:
    """Start a Dovecot of the test's own, to be stopped, killed and started again; takes what `Dovecot` takes."""
    require("dovecot")
    with contextlib.ExitStack() as servers:
        yield lambda **options: servers.enter_context(Dovecot(**options))


@pytest.fixture
def start_cyrus() -> Iterator[Callable[..., Cyrus]]:
    """Start a Cyrus of the test's own, to be stopped, killed and started again; takes what `Cyrus` takes."""
    require("cyrus")
    with contextlib.ExitStack() as servers:
        yield lambda **options: servers.enter_context(Cyrus(**options))
