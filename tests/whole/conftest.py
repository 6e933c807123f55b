"""The whole, as `manage.py up` runs it, started once for the tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.running import Installation
from tests.whole.running import Whole

FLOWER_AUTH = "watch:a word of ours"


@pytest.fixture(scope="package")
def whole() -> Iterator[Whole]:
    """A running stack of its own, with an API key."""
    with tempfile.TemporaryDirectory(prefix="mailmirror-whole-") as directory:
        data_dir = Path(directory) / "var"
        installation = Installation(data_dir, ALLOWED_PRIVATE_NETWORKS="127.0.0.0/8", FLOWER_AUTH=FLOWER_AUTH)
        try:
            up = installation.up()
            made = installation.run("create_api_key", "tests")
            assert made.returncode == 0, made.stderr
            yield Whole(installation, up, made.stdout.strip())
        finally:
            installation.remove()
