"""Compare a mirror with its live server, and the log with the tables."""

from __future__ import annotations

import json
import sys

from django.core.exceptions import ObjectDoesNotExist
from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import Error
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from accounts.management.grants import add_grant_argument, find_grant
from accounts.models import GrantDirectory, Status
from accounts.services import AccountNotFound
from sync.checking.remote import CouldNotLook
from sync.checking.values import Difference, Json, Report
from sync.errors import MailError
from sync.services.checking import SAMPLE, check_mirror
from sync.services.progress import SyncProgress

#: Exit statuses; 0: no difference.
DIFFERENCES = 1
COULD_NOT_LOOK = 2


class Command(BaseCommand):
    """See `help`."""

    help = (
        "Compare the mirror of an account with its live server, after a pass, and its log with the tables. What"
        " differs is looked at again after another pass. Status 0: no difference; 1: differences; 2: could not look."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        add_grant_argument(parser)
        parser.add_argument("--json", action="store_true", help="one JSON object: checked, differences")
        parser.add_argument(
            "--contents",
            action="store_true",
            help=f"compare every message byte for byte, which downloads the mailbox; else {SAMPLE} of each folder",
        )

    def handle(self, *, grant: str, json: bool, contents: bool, **options: object) -> None:
        """Look, and tell what differs by lines and by the exit status."""
        report = self._look(grant, contents=contents)
        self.stdout.write(as_json(report) if json else as_text(report))
        if report.differences:
            sys.exit(DIFFERENCES)

    def _look(self, grant: str, *, contents: bool) -> Report:
        try:
            found = find_grant(grant)
            if found.status != Status.VALID:
                resume = f"first: manage.py resume_account {found.account_id}"
                raise CouldNotLook(f"{found.email} is {found.status}; {resume}")
            return self._look_with_bar(found, contents=contents)
        except CommandError as error:
            raise CommandError(str(error), returncode=COULD_NOT_LOOK) from error
        except (AccountNotFound, ObjectDoesNotExist) as error:
            raise CommandError(f"{grant} was disconnected meanwhile", returncode=COULD_NOT_LOOK) from error
        except (CouldNotLook, MailError, Error) as error:
            raise CommandError(f"could not check {grant}: {error}", returncode=COULD_NOT_LOOK) from error

    def _look_with_bar(self, found: GrantDirectory, *, contents: bool) -> Report:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            mirror = bar.add_task(f"mirror {found.email}", total=None)
            check = bar.add_task("compare", total=None)

            def tell_pass(progress: SyncProgress) -> None:
                total = progress.messages_known or None
                bar.update(mirror, total=total, completed=progress.messages_mirrored)
                bar.update(check, total=total)

            def tell_look(messages: int) -> None:
                bar.update(check, completed=messages)

            report = check_mirror(found.account_id, contents=contents, tell_pass=tell_pass, tell_look=tell_look)
        if report.passed:
            self.stderr.write(f"{_counted(report.passed, 'difference')} gone after another pass")
        return report


def as_json(report: Report) -> str:
    """The report for programs."""
    return json.dumps(report.as_json(), indent=2, ensure_ascii=False)


def as_text(report: Report) -> str:
    """The report for people: a line a difference, and a last line that counts."""
    lines = [_line(one) for one in report.differences]
    found = _counted(len(lines), "difference") if lines else "no difference"
    more = ", and more" if report.more else ""
    checked = f"{_counted(report.folders, 'folder')}, {_counted(report.messages, 'message')}"
    return "\n".join([*lines, f"checked {checked}: {found}{more}"])


def _line(one: Difference) -> str:
    places = [one.folder, one.uid and f"uid {one.uid}", one.message_id and f"message {one.message_id}"]
    if one.message_id is None and one.object_id is not None:
        places.append(f"{one.object_type} {one.object_id}")
    place = "  ".join(str(word) for word in places if word)
    return f"{one.kind}  {place}  mirror: {_shown(one.mirror)}  server: {_shown(one.server)}"


def _shown(value: Json) -> str:
    return "-" if value is None else json.dumps(value, ensure_ascii=False)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
