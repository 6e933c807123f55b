"""Connect an account from the shell."""

from __future__ import annotations

import getpass
import sys
from dataclasses import replace

from django.core.management import BaseCommand, CommandError, CommandParser

from accounts.services import default_application
from sync.errors import MailError
from sync.services.connecting import ConnectRequest, InvalidSettings, connect_account

SECURITY = ("tls", "starttls", "none")


def host_and_port(text: str) -> tuple[str, int | None]:
    """Split HOST[:PORT]; an IPv6 address with a port stands in brackets. Raises CommandError."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    if port and not (port.isdecimal() and 1 <= int(port) <= 65535):
        raise CommandError(f"{port!r} is not a port; allowed: 1 to 65535")
    return host, int(port) if port else None


class Command(BaseCommand):
    """See `help`."""

    help = "Log in to prove that it works, store the account, start mirroring it; print the grant id alone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email")
        parser.add_argument("--imap", metavar="HOST[:PORT]", help="found by the email's domain unless given")
        parser.add_argument("--smtp", metavar="HOST[:PORT]", help="found by the email's domain unless given")
        parser.add_argument("--username", help="the login name (the email)")
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from the first line of stdin"
        )
        parser.add_argument("--security", choices=SECURITY, help="of IMAP (993 tls, 143 starttls, any other port tls)")
        parser.add_argument("--smtp-security", choices=SECURITY, help="of SMTP (465 tls, 587 starttls, any other tls)")
        parser.add_argument("--insecure", action="store_true", help="do not verify certificates")
        parser.add_argument("--application", default="default", help="which application gets the grant (default)")

    def handle(
        self,
        *,
        email: str,
        imap: str | None,
        smtp: str | None,
        username: str | None,
        password_stdin: bool,
        security: str | None,
        smtp_security: str | None,
        insecure: bool,
        application: str,
        **options: object,
    ) -> None:
        """Connect."""
        password = sys.stdin.readline().rstrip("\r\n") if password_stdin else getpass.getpass(f"Password of {email}: ")
        request = ConnectRequest(
            email=email,
            imap_username=username or email,
            imap_password=password,
            imap_security=security,
            smtp_security=smtp_security,
            verify_certificates=not insecure,
        )
        if imap is not None:
            host, port = host_and_port(imap)
            request = replace(request, imap_host=host, imap_port=port)
        if smtp is not None:
            host, port = host_and_port(smtp)
            request = replace(request, smtp_host=host, smtp_port=port)
        try:
            account_id = connect_account(application_id=default_application(application).pk, request=request)
        except InvalidSettings as error:
            raise CommandError(str(error)) from error
        except MailError as error:
            raise CommandError(f"could not connect {email} (stage {error.stage}): {error}") from error
        self.stdout.write(str(account_id))
