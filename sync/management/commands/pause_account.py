"""Stop mirroring an account; what is mirrored stays."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandParser

from accounts.management.grants import add_grant_argument, find_grant
from accounts.services import pause_account


class Command(BaseCommand):
    """See `help`."""

    help = "Stop mirroring an account; what is mirrored stays."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)

    def handle(self, *, grant: str, **options: object) -> None:
        """Do it, and say whether it made a difference."""
        found = find_grant(grant)
        changed = pause_account(account_id=found.account_id)
        self.stdout.write(f"{found.email}: {'paused' if changed else 'nothing to do'}")
