"""Waiting for what is about to happen, never for luck."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Return as soon as `holds()` is true. Raises AssertionError when it is not in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
