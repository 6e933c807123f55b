"""Installations of their own: nothing here touches the PostgreSQL that the other tests use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.running import Installation


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An empty DATA_DIR of 200 characters, below a directory that only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="mailmirror-up-") as closed:
        path = Path(closed)
        assert path.stat().st_mode & 0o777 == 0o700
        while len(str(path)) < 120:
            path /= "a long name that has spaces, and é"
        path /= "x" * (199 - len(str(path)))
        assert len(str(path)) == 200
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Installation(path)
        try:
            yield made
        finally:
            made.remove()
