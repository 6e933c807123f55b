"""What every test may use. PostgreSQL and Valkey are there before: see tests/stack.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from project.shards import on_shard

pytest_plugins = ["tests.servers.plugin"]


@pytest.fixture(autouse=True)
def shard_0() -> Iterator[None]:
    """A test that says nothing else means the first of the two shards that the tests have.

    What must say which shard it means is called with none at hand: `bare`, requests of the `Api`, other processes.
    """
    with on_shard(shard=0):
        yield
