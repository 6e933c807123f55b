"""The change log of an account on the terminal."""

from __future__ import annotations

import json
import time

from django.core.management import BaseCommand, CommandError, CommandParser

from accounts.changelog.reader import BadCursor, CursorExpired
from accounts.management.grants import add_grant_argument, find_grant
from api.changes import LOOK_EVERY, MAX_LIMIT, changes_page
from project.postgres import give_back
from project.shards import on_shard


class Command(BaseCommand):
    """See `help`."""

    help = "Print the change log of an account: one JSON object a line, in the shape of the API's G/changes."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)
        parser.add_argument("--since", metavar="CURSOR", help="go on behind this change (the oldest kept)")
        parser.add_argument("--follow", action="store_true", help="wait for more, until Ctrl-C")

    def handle(self, *, grant: str, since: str | None, follow: bool, **options: object) -> None:
        """Print."""
        account_id = find_grant(grant).account_id
        try:
            with on_shard(account_id):
                self._print(account_id, since, follow=follow)
        except BadCursor as error:
            raise CommandError(f"--since: {error}") from error
        except CursorExpired as error:
            raise CommandError("the log does not reach back to this cursor; begin without --since") from error
        except BrokenPipeError:
            # whoever read us has enough
            return

    def _print(self, account_id: int, since: str | None, *, follow: bool) -> None:
        while True:
            page = changes_page(account_id, since=since, limit=MAX_LIMIT)
            for change in page.changes:
                self.stdout.write(json.dumps(change, ensure_ascii=False))
            since = page.next_cursor
            if not page.has_more:
                if not follow:
                    return
                self.stdout.flush()
                give_back()
                time.sleep(LOOK_EVERY)
