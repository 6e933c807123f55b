"""Cyrus IMAP: a second opinion on everything modern; special-use attributes in lower case, HIGHESTMODSEQ always."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tests.servers.install import cyrus_tree
from tests.servers.mailbox import MailUser
from tests.servers.packages import library_path
from tests.servers.processes import (
    ServerProcess,
    account_names,
    as_service_account,
    fill_in,
    own,
    reachable_copy,
    run_tool,
)
from tests.servers.server import ImapServer


class Cyrus(ImapServer):
    """Users lie in a sasldb; a mailbox is made at the first login, with the special folders.

    UIDVALIDITY changes by DELETE and CREATE only, so not of INBOX.
    """

    name: ClassVar[str] = "cyrus"
    # its sessions end at once, but at times its master then waits, spinning, for one that has ended
    grace: ClassVar[float] = 1.0

    def __init__(self, *, extra: str = "") -> None:
        """`extra`: lines for imapd.conf."""
        super().__init__()
        self._extra = extra
        self._proc = self.directory / "run" / "proc"

    @functools.cached_property
    def tree(self) -> Path:
        """Below which directory its programs are."""
        return reachable_copy(cyrus_tree(), self.directory)

    @functools.cached_property
    def environ(self) -> dict[str, str]:
        """Where its programs find their libraries and SASL its mechanisms."""
        if self.tree == Path("/"):
            return {}
        system = {"/usr/lib/sasl2", *map(str, Path("/usr/lib").glob("*/sasl2"))}
        unpacked = map(str, (self.tree / "usr/lib").glob("*/sasl2"))
        return {"LD_LIBRARY_PATH": library_path(self.tree), "SASL_PATH": ":".join([*unpacked, *sorted(system)])}

    def configure(self) -> None:
        # without conf/socket, idled tells nobody anything
        for part in ("conf/socket", "spool", "run/lock", "run/proc"):
            path = self.directory / part
            path.mkdir(parents=True, exist_ok=True)
            own(path.parent)
            own(path)
        values = {
            **account_names(),
            "directory": self.directory,
            "programs": self.tree / "usr/lib/cyrus/bin",
            "certificate": self.certificate,
            "key": self.key,
            "port": self.port,
            "tls_port": self.tls_port,
        }
        (self.directory / "imapd.conf").write_text(fill_in("cyrus-imapd.conf", **values) + self._extra)
        (self.directory / "cyrus.conf").write_text(fill_in("cyrus.conf", **values))

    def launch(self) -> ServerProcess:
        master = self.tree / "usr/lib/cyrus/bin/master"
        files: list[str | Path] = ["-C", self.directory / "imapd.conf", "-M", self.directory / "cyrus.conf"]
        command = as_service_account([master, *files, "-p", self.directory / "run/master.pid", "-l", "256", "-D"])
        return ServerProcess(command, log=self.directory / "log", environ=self.environ)

    def add_user(self, username: str, password: str) -> None:
        """Let a user log in."""
        database = self.directory / "conf" / "sasldb2"
        program = self.tree / "usr/sbin/saslpasswd2"
        options = ["-p", "-c", "-f", str(database), "-u", "localhost", username]
        run_tool([program, *options], stdin=password, environ=self.environ)

    def session_pids(self, user: MailUser) -> Iterator[int]:
        # a file a process: service, client, user and mailbox, divided by tabs
        for entry in self._proc.iterdir():
            if entry.name.isdigit() and user.username in entry.read_text().split("\t"):
                yield int(entry.name)
