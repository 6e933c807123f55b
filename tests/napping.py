"""A task for workers under test: sleeps, and leaves a line in a file."""

from __future__ import annotations

import time
from pathlib import Path

from celery_config import app


@app.task
def nap(*, seconds: float, path: str, name: str, **_future: object) -> None:
    """Sleep, then note the name."""
    time.sleep(seconds)
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{name}\n")
