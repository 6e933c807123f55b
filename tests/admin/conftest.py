"""Staff who are logged in, with all rights or with some, and mailboxes in each shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Application
from accounts.services import default_application
from tests.api.conftest import ALIASES, served
from tests.api.mailbox import Mailroom, make_mailroom

__all__ = ["served"]

ACCOUNTS = "/admin/accounts/grantdirectory/"


def log_in(user: User) -> Client:
    """Return a browser of a staff member; what goes wrong in a page is an answer with status 500."""
    client = Client(raise_request_exception=False, REMOTE_ADDR="192.0.2.7")
    client.force_login(user)
    return client


@pytest.fixture
def application(db: None) -> Application:
    return default_application()


@pytest.fixture
def boss(db: None) -> Client:
    """A superuser."""
    return log_in(User.objects.create_superuser("boss"))


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Log in a staff member who has the permissions named, and no others."""

    def hire(*permissions: str) -> Client:
        user = User.objects.create_user("ann", is_staff=True)
        for permission in permissions:
            app, _, codename = permission.partition(".")
            user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
        return log_in(user)

    return hire


@pytest.fixture(params=[0, 1], ids=["shard 0", "shard 1"])
def room(request: pytest.FixtureRequest, application: Application) -> Mailroom:
    """A mailbox, in each shard."""
    return make_mailroom(application, shard=request.param)


def pages_of(room: Mailroom) -> str:
    """Return where the pages about an account begin."""
    return f"{ACCOUNTS}{room.id}/"


@contextmanager
def collected() -> Iterator[list[tuple[str, str]]]:
    """Collect the SQL of the block as (alias, SQL), in the order of each database."""
    found: list[tuple[str, str]] = []
    with ExitStack() as stack:
        seen = {alias: stack.enter_context(CaptureQueriesContext(connections[alias])) for alias in ALIASES}
        yield found
        found += [(alias, query["sql"]) for alias, one in seen.items() for query in one.captured_queries]
