"""Remove an account and all its mail."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from accounts.management.grants import add_grant_argument, find_grant
from sync.services.removal import count_messages, delete_mail, end_account


class Command(BaseCommand):
    """See `help`."""

    help = "Remove an account and all its mail from the mirror; nothing changes on the mail server."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)

    def handle(self, *, grant: str, **options: object) -> None:
        """Remove it, showing how far it is; interrupted, the workers delete the rest."""
        found = find_grant(grant)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        end_account(account_id=found.account_id)
        messages = count_messages(account_id=found.account_id)
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(found.email, total=messages)
            delete_mail(account_id=found.account_id, tell=lambda deleted: bar.advance(task, deleted))
        self.stdout.write(f"{found.email}: disconnected, its mail removed ({messages} messages)")
