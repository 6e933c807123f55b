"""Make an API key."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandError, CommandParser

from accounts.keys import SCOPES, create_api_key
from accounts.services import default_application


class Command(BaseCommand):
    """See `help`."""

    help = "Make a key of the API and print it alone: it is stored as its hash and cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name", metavar="NAME", help="what the key is for, in people's words")
        parser.add_argument("--application", default="default", help="made when new (default)")
        parser.add_argument(
            "--scopes", default=",".join(SCOPES), help=f"comma-separated, of {', '.join(SCOPES)} (all of them)"
        )

    def handle(self, *, name: str, application: str, scopes: str, **options: object) -> None:
        """Make it."""
        wanted = {scope.strip() for scope in scopes.split(",") if scope.strip()}
        if not wanted or not wanted <= set(SCOPES):
            # before an application is made for nothing
            raise CommandError(f"--scopes {scopes!r}: allowed: {', '.join(SCOPES)}")
        self.stdout.write(create_api_key(application=default_application(application), name=name, scopes=wanted))
