"""How the partitions are dealt out among sync workers."""

from __future__ import annotations

import pytest

from project import worker
from project.env import BadSetting


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_every_partition_has_exactly_one_worker(count: int) -> None:
    dealt = [partition for number in range(1, count + 1) for partition in worker.partitions(number, count, of=16)]
    assert sorted(dealt) == list(range(16))
    sizes = [len(worker.partitions(number, count, of=16)) for number in range(1, count + 1)]
    assert max(sizes) - min(sizes) <= 1


def test_sync_worker_serves_news_and_first_mirrors_of_its_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNC_SHARE", "2/8")
    assert worker.queues("sync") == ["sync.1", "sync.9", "backfill.1", "backfill.9"]


@pytest.mark.parametrize("share", ["0/2", "3/2", "2", "a/b", "1/"])
def test_share_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, share: str) -> None:
    monkeypatch.setenv("SYNC_SHARE", share)
    with pytest.raises(BadSetting, match="SYNC_SHARE"):
        worker.queues("sync")
