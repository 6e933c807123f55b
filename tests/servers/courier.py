"""Courier IMAP: old-fashioned IMAP4rev1 without CONDSTORE, SPECIAL-USE, MOVE, ESEARCH; all below "INBOX.".

Folders are divided by ".". DELETE and RENAME take 2 s.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tests.servers import courier_login
from tests.servers.install import courier_tree
from tests.servers.mailbox import MailUser
from tests.servers.packages import library_path
from tests.servers.processes import (
    ServerProcess,
    end_process,
    own,
    processes_with,
    reachable_copy,
    run_tool,
    tied_to_us,
)
from tests.servers.server import PASSWORD, ImapServer

#: What Courier's own start script sets; idle sessions look every 2 s.
SETTINGS = {
    "IMAP_ACL": "1",
    "IMAP_CHECK_ALL_FOLDERS": "0",
    "IMAP_DISABLETHREADSORT": "0",
    "IMAP_EMPTYTRASH": "",
    "IMAP_ENHANCEDIDLE": "0",
    "IMAP_IDLE_TIMEOUT": "2",
    "IMAP_KEYWORDS": "1",
    "IMAP_MAILBOX_SANITY_CHECK": "0",
    "IMAP_MOVE_EXPUNGE_TO_TRASH": "0",
    "IMAP_OBSOLETE_CLIENT": "0",
    "IMAP_TRASHFOLDERNAME": "Trash",
    "IMAP_USELOCKS": "1",
    "MAILDIRPATH": "Maildir",
    "PROTOCOL": "IMAP",
    "TCPLOCALPORT": "143",
    "TCPREMOTEIP": "127.0.0.1",
    "TCPREMOTEPORT": "0",
}


class Courier(ImapServer):
    """Plain text only. SELECT tells no UIDNEXT. UIDVALIDITY changes by DELETE and CREATE only, so not of INBOX."""

    name: ClassVar[str] = "courier"
    port_count: ClassVar[int] = 1
    offers_tls: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._homes = self.directory / "home"

    @functools.cached_property
    def tree(self) -> Path:
        """Below which directory its programs are."""
        return reachable_copy(courier_tree(), self.directory)

    @functools.cached_property
    def environ(self) -> dict[str, str]:
        """Settings, libraries, and the server for news of files, one of our own: without it each command takes 1 s."""
        libraries = {} if self.tree == Path("/") else {"LD_LIBRARY_PATH": library_path(self.tree)}
        gamin = {
            "GAM_CLIENT_ID": self.directory.name,
            "GAMIN_DEBUG_SERVER": str(self.tree / "usr/libexec/gam_server"),
        }
        return {**SETTINGS, **libraries, **gamin}

    def configure(self) -> None:
        self._homes.mkdir(exist_ok=True)
        own(self._homes)

    def launch(self) -> ServerProcess:
        listener = [sys.executable, courier_login.__file__, str(self.port)]
        command = tied_to_us([*listener, self.tree / "usr/bin/imapd", PASSWORD, self._homes])
        return ServerProcess(command, log=self.directory / "log", environ=self.environ)

    def add_user(self, username: str, password: str) -> None:
        """Make a mailbox with the usual folders."""
        assert password == PASSWORD
        home = self._homes / username
        home.mkdir()
        own(home)
        make = [self.tree / "usr/bin/maildirmake.courier"]
        run_tool([*make, home / "Maildir"], environ=self.environ)
        for folder in ("Drafts", "Sent", "Trash"):
            run_tool([*make, "-f", folder, home / "Maildir"], environ=self.environ)

    def kill(self) -> None:
        """End all its processes at once."""
        super().kill()
        # it leaves the process group
        for pid in processes_with("GAM_CLIENT_ID", self.directory.name):
            end_process(pid)

    def session_pids(self, user: MailUser) -> Iterator[int]:
        # the server for news of files was started by a session, but leaves the group
        for pid in processes_with("AUTHENTICATED", user.username):
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) == self.process.pid:
                    yield pid
