"""Mirror an account in the foreground."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from accounts.management.grants import add_grant_argument, find_grant
from accounts.models import Status
from sync.errors import MailError
from sync.services.foreground import mirror_now
from sync.services.progress import SyncProgress


class Command(BaseCommand):
    """See `help`."""

    help = "Mirror an account in the foreground; ends when a pass that began after the call is complete."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)

    def handle(self, *, grant: str, **options: object) -> None:
        """Mirror, showing how far it is."""
        found = find_grant(grant)
        if found.status != Status.VALID:
            raise CommandError(f"{found.email} is {found.status}; first: manage.py resume_account {found.account_id}")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        try:
            with Progress(*columns, console=Console(stderr=True)) as bar:
                task = bar.add_task(found.email, total=None)

                def tell(progress: SyncProgress) -> None:
                    bar.update(task, total=progress.messages_known or None, completed=progress.messages_mirrored)

                done = mirror_now(found.account_id, tell=tell)
        except MailError as error:
            raise CommandError(f"could not mirror {found.email}: {error}") from error
        self.stdout.write(f"{found.email}: {done.messages_mirrored} messages in {len(done.folders)} folders mirrored")
