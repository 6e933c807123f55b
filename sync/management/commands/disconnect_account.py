"""Remove an account and all its mail."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandParser

from accounts.management.grants import add_grant_argument, find_grant
from sync.services.removal import disconnect_account


class Command(BaseCommand):
    """See `help`."""

    help = "Remove an account and all its mail from the mirror; nothing changes on the mail server."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)

    def handle(self, *, grant: str, **options: object) -> None:
        """Remove it."""
        found = find_grant(grant)
        disconnect_account(account_id=found.account_id)
        self.stdout.write(f"{found.email}: disconnected, its mail removed")
