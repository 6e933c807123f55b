"""What the demo shows: how far it is, and what there is to try."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from rich import filesize
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


class Measure(Protocol):
    """Something that shows how far work is."""

    def tell(self, done: int, total: int) -> None:
        """Show it."""

    def end(self) -> None:
        """Show no more."""


class Bar:
    """A bar, on a terminal."""

    def __init__(self) -> None:
        columns = (TextColumn("mirroring"), BarColumn(), MofNCompleteColumn(), TextColumn("messages"))
        self.progress = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
        self.task = self.progress.add_task("", total=None)
        self.progress.start()

    def tell(self, done: int, total: int) -> None:
        """Move the bar."""
        self.progress.update(self.task, completed=done, total=total or None)

    def end(self) -> None:
        """Leave the bar as it is."""
        self.progress.stop()


class Lines:
    """A line at each tenth, where there is no terminal."""

    def __init__(self) -> None:
        self.said = -1

    def tell(self, done: int, total: int) -> None:
        """Write a line when there is news."""
        tenths = 10 * done // total if total else 0
        if total and tenths > self.said:
            self.said = tenths
            sys.stderr.write(f"mirroring [{'#' * tenths}{'.' * (10 - tenths)}] {done}/{total} messages\n")
            sys.stderr.flush()

    def end(self) -> None:
        """Write nothing."""


def measure() -> Measure:
    """Return what fits where we write."""
    return Bar() if sys.stderr.isatty() else Lines()


Objects = Sequence[dict[str, Any]]


def mirrored(email: str, messages: Objects, drafts: Objects, threads: Objects, files: Objects) -> str:
    """Return what was mirrored in one line; `files` are the attachments of messages and drafts."""
    size = filesize.decimal(sum(file.get("size") or 0 for file in files))
    mail = f"{len(messages)} messages and {len(drafts)} drafts in {len(threads)} threads"
    return f"{mail} of {email}, with {len(files)} attachments ({size})"


def login(account: Mapping[str, Any]) -> str:
    """Return how a mail program gets at the demo's mailbox."""
    server = f"{account['imap_host']}:{account['imap_port']}"
    return f"{server}, no TLS   user {account['imap_username']}, password {account['imap_password']}"


def folder_table(folders: Iterable[dict[str, Any]]) -> Table:
    """Return a table of folders and what is in them."""
    table = Table(box=None, pad_edge=False)
    table.add_column("folder")
    table.add_column("messages", justify="right")
    table.add_column("unread", justify="right")
    for folder in sorted(folders, key=lambda folder: str(folder.get("path", folder["name"]))):
        name = str(folder.get("path", folder["name"]))
        table.add_row(name, str(folder.get("total_count", "")), str(folder.get("unread_count", "")))
    return table


def render(table: Table) -> str:
    """Return a table as text."""
    console = Console(width=100, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


def curl_lines(base: str, key: str, grant: str) -> list[str]:
    """Return three lines to try in a shell."""
    login = f"-H 'Authorization: Bearer {key}'"
    return [
        f"curl {login} {base}/v3/grants",
        f"curl {login} '{base}/v3/grants/{grant}/messages?limit=5&unread=true'",
        f"curl {login} '{base}/v3/grants/{grant}/changes?limit=20&include=object'",
    ]
