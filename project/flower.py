"""Run Flower behind its login: `python -m project.flower`.

In a process of its own, because Flower takes every variable that begins with FLOWER_ for one of its options: our
FLOWER_AUTH would be read as a pattern of email addresses. The login goes by the environment: command lines are public.
"""

from __future__ import annotations

import os
import sys

from celery.bin.celery import main as celery
from flower.views.monitor import Metrics
from tornado.web import authenticated

from project import settings


def main() -> None:
    """Serve Flower on FLOWER_PORT until told to stop."""
    for name in [name for name in os.environ if name.startswith("FLOWER_")]:
        del os.environ[name]
    os.environ["FLOWER_BASIC_AUTH"] = settings.FLOWER_AUTH
    # Flower tells these to everybody: names of workers and tasks, and how many
    Metrics.get = authenticated(Metrics.get)
    sys.argv[:] = [
        *("celery", "--app", "celery_config", "flower", f"--port={settings.FLOWER_PORT}", f"--address={settings.HOST}"),
        f"--logging={settings.LOG_LEVEL}",
    ]
    sys.exit(celery())


if __name__ == "__main__":
    main()
