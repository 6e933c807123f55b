"""Be Celery's beat: `python -m project.beat`. Run exactly one.

Not by the `celery` program: beat needs the names of the tasks alone, and would import all of them, with Django and the
providers, first. So it starts in a third of the time, and in a third of the memory.
"""

from __future__ import annotations

import os
import sys

from celery.apps.beat import Beat
from django.conf import settings

from project.env import BadSetting


class LeanBeat(Beat):
    """Beat that imports no task."""

    def init_loader(self) -> None:
        """Settle the app's settings."""
        assert self.app is not None, "given in main"
        self.app.finalize()


def main() -> None:
    """Tell the maintenance worker what is due, until told to stop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from celery_config import app

    LeanBeat(app=app, loglevel=settings.LOG_LEVEL, quiet=True).run()


if __name__ == "__main__":
    try:
        main()
    except BadSetting as error:
        sys.exit(str(error))
