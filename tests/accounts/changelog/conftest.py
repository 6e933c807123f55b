"""An account in each shard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from accounts.models import Account
from project.shards import on_shard
from tests.accounts.changelog.rows import make_account


@pytest.fixture(params=[0, 1], ids=["shard 0", "shard 1"])
def account(request: pytest.FixtureRequest, db: None) -> Iterator[Account]:
    """An account; its shard is at hand in the test."""
    with on_shard(shard=request.param):
        yield make_account()
