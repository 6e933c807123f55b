"""A pool of two connections to the test database, beside the one that the other tests use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.postgres.signals import register_type_handlers
from django.db import connections
from django.db.backends.signals import connection_created
from pytest_django.plugin import DjangoDbBlocker

from project.postgres.base import DatabaseWrapper
from project.postgres.pool import close_pool

Views = Callable[..., DatabaseWrapper]

ALIAS = "pooled"
NAME = "mailmirror pool test"


@pytest.fixture
def view(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Views]:
    """Make a view of the test database for the calling thread; all of them share one pool of `pool_size` (2).

    The tests that use it write nothing.
    """
    made: list[DatabaseWrapper] = []

    def make(**options: Any) -> DatabaseWrapper:
        wrapper = connections["default"].copy(alias=ALIAS)
        assert isinstance(wrapper, DatabaseWrapper)
        wrapper.settings_dict["OPTIONS"] |= {"pool_size": 2, "application_name": NAME, "options": "", **options}
        wrapper.inc_thread_sharing()
        made.append(wrapper)
        return wrapper

    # it asks connections[alias], which does not know this one
    connection_created.disconnect(register_type_handlers)
    with django_db_blocker.unblock():
        yield make
        for wrapper in [*made, connections["default"]]:
            wrapper.close()
        close_pool(ALIAS)
    connection_created.connect(register_type_handlers)
