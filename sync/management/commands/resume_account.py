"""Mirror a paused account again."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandParser

from accounts.management.grants import add_grant_argument, find_grant
from accounts.services import resume_account
from sync.services.connecting import start_mirroring


class Command(BaseCommand):
    """See `help`."""

    help = "Mirror a paused account again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)

    def handle(self, *, grant: str, **options: object) -> None:
        """Do it, and say whether it made a difference."""
        found = find_grant(grant)
        changed = resume_account(account_id=found.account_id)
        start_mirroring(found.account_id)
        self.stdout.write(f"{found.email}: {'resumed' if changed else 'nothing to do'}")
