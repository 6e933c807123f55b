"""What the commands about one account share: finding it by grant id or email."""

from __future__ import annotations

from django.core.management import CommandError, CommandParser

from accounts.models import GrantDirectory
from accounts.services import find_grants


def add_grant_argument(parser: CommandParser) -> None:
    """Add the argument GRANT_OR_EMAIL."""
    parser.add_argument("grant", metavar="GRANT_OR_EMAIL", help="a grant id, or the email of a connected account")


def find_grant(text: str) -> GrantDirectory:
    """Return the one account meant; raise CommandError that says what to do where none or several are."""
    found = find_grants(text)
    if not found:
        raise CommandError(f"no account {text!r} is connected; see: manage.py sync_status")
    if len(found) > 1:
        ids = "\n".join(f"  {one.account_id}  application {one.application.name}" for one in found)
        raise CommandError(f"several applications have connected {text}; name one by its grant id:\n{ids}")
    return found[0]
