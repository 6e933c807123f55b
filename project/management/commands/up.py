"""Run everything on this machine."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from project.stack import Stack


class Command(BaseCommand):
    help = (
        "Run the whole: PostgreSQL and a Redis-protocol server where no outside ones are set, then the processes of "
        "the Procfile, until SIGTERM or Ctrl-C. Prints `ready <base URL>` when it can be used."
    )
    # `manage.py` has migrated already, and a stack that is wrong says so in /readyz
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until told to stop."""
        stack = Stack(self.stderr.write)
        with stack.running():
            stack.wait_until_ready()
            self.stdout.write(f"ready {settings.PUBLIC_URL}")
            self.stdout.flush()
            stack.tend_for_ever()
