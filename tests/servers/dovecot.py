"""Dovecot: TLS, STARTTLS and plain, every modern extension, or few of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import ClassVar

from tests.servers.mailbox import Mailbox, MailUser
from tests.servers.processes import ServerProcess, account_names, as_service_account, fill_in, own, run_tool
from tests.servers.server import PASSWORD, ImapServer

PROGRAM = "/usr/sbin/dovecot"
#: An old server's: no CONDSTORE, QRESYNC, LIST-STATUS, SPECIAL-USE, MOVE, ESEARCH, IDLE.
PLAIN_CAPABILITIES = "IMAP4rev1 LITERAL+ CHILDREN NAMESPACE UIDPLUS"


class Dovecot(ImapServer):
    """Any user name is let in with PASSWORD; a mailbox is made at the first login, with the special folders.

    HIGHESTMODSEQ is told of a folder only once a client has switched CONDSTORE on there.
    `capabilities`: what it tells, None: all it has (what is hidden so still works). `extra`: appended to its
    configuration.
    """

    name: ClassVar[str] = "dovecot"
    port_count: ClassVar[int] = 3

    def __init__(self, *, capabilities: str | None = None, extra: str = "") -> None:
        super().__init__()
        self.lmtp_port = self.more_ports[1]
        self._capabilities = capabilities
        self._extra = extra
        self._configuration = self.directory / "dovecot.conf"

    def configure(self) -> None:
        (self.directory / "run").mkdir(exist_ok=True)
        own(self.directory / "run")
        version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
        major, minor = map(int, re.findall(r"\d+", version)[:2])
        template = "dovecot-2.3.conf" if (major, minor) < (2, 4) else "dovecot-2.4.conf"
        text = fill_in(
            template,
            **account_names(),
            directory=self.directory,
            certificate=self.certificate,
            key=self.key,
            password=PASSWORD,
            port=self.port,
            tls_port=self.tls_port,
            lmtp_port=self.lmtp_port,
        )
        hidden = f"imap_capability = {self._capabilities}\n" if self._capabilities else ""
        self._configuration.write_text(text + hidden + self._extra)

    def launch(self) -> ServerProcess:
        command = as_service_account([PROGRAM, "-F", "-c", self._configuration])
        return ServerProcess(command, log=self.directory / "log")

    def add_user(self, username: str, password: str) -> None:
        """Nothing to do: every user is known."""
        assert password == PASSWORD

    def connect(self, user: MailUser) -> Mailbox:
        return DovecotMailbox(user, self)

    def admin(self, *arguments: str) -> str:
        """Run doveadm and return what it prints. Raises ServerFailed."""
        return run_tool(["doveadm", "-c", self._configuration, *arguments])

    def kick(self, user: MailUser) -> None:
        """Cut every session of a user, with a BYE."""
        self.admin("kick", user.username)

    def session_pids(self, user: MailUser) -> Iterator[int]:
        for line in self.admin("-f", "tab", "who", "-1", user.username).splitlines()[1:]:
            yield int(line.split("\t")[2])


class DovecotMailbox(Mailbox):
    """A control client that can also ask doveadm."""

    def __init__(self, user: MailUser, server: Dovecot) -> None:
        super().__init__(user)
        self._server = server

    def bump_uidvalidity(self, folder: str) -> None:
        """Give a folder, INBOX too, a new UIDVALIDITY; messages keep their UIDs. Sessions that have it open are cut."""
        self.set_uidvalidity(folder, self.status(folder, "UIDVALIDITY") + 1)

    def set_uidvalidity(self, folder: str, number: int) -> None:
        """Give a folder this UIDVALIDITY, which may be, or have been, another folder's."""
        self._leave()
        self._server.admin("mailbox", "update", "-u", self.user.username, "--uid-validity", str(number), folder)
        # a session that remembers the old one is cut when it opens the folder again
        self.close()
        self._imap = self._log_in()
