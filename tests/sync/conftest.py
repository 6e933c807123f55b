"""A connected account on a real server, mirrored in the foreground."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from accounts.models import Account
from accounts.services import default_application
from sync.models import Folder, FolderMessage, Message
from sync.services import sessions
from sync.services.connecting import ConnectRequest, connect_account
from sync.services.foreground import mirror_now
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox, MailUser


@dataclass
class Connected:
    """An account and the mailbox it mirrors."""

    account_id: int
    user: MailUser
    server: Mailbox

    def mirror(self) -> None:
        """Make one complete pass."""
        mirror_now(self.account_id)

    def folder(self, path: str) -> Folder:
        return Folder.objects.get(account_id=self.account_id, path=path)

    def paths_of(self, message: Message) -> list[str]:
        """Where the copies of a message are."""
        message.refresh_from_db()
        return sorted(Folder.objects.filter(pk__in=message.folder_ids).values_list("path", flat=True))

    def mirrored(self) -> dict[str, dict[str, tuple[bytes, frozenset[str]]]]:
        """folder path -> remote id -> (raw, flags), as mirrored."""
        from sync.blobs import open_blob

        found: dict[str, dict[str, tuple[bytes, frozenset[str]]]] = {}
        for folder in Folder.objects.filter(account_id=self.account_id, selectable=True):
            copies = FolderMessage.objects.filter(folder=folder).select_related("message")
            found[folder.path] = {
                copy.remote_id: (
                    b"".join(open_blob(self.account_id, bytes(copy.message.sha256), copy.message.size).pieces()),
                    frozenset(copy.flags),
                )
                for copy in copies
            }
        return found

    def on_server(self) -> dict[str, dict[str, tuple[bytes, frozenset[str]]]]:
        """The same, as the server tells an unrelated client."""
        return {
            path: {str(uid): (one.raw, one.flags) for uid, one in self.server.messages(path).items()}
            for path in Folder.objects.filter(account_id=self.account_id, selectable=True).values_list(
                "path", flat=True
            )
        }


def connect(user: MailUser) -> Connected:
    """Connect a mailbox of a test server, without TLS: it listens on this machine alone."""
    request = ConnectRequest(
        email=f"{user.username}@example.com",
        imap_username=user.username,
        imap_password=user.password,
        imap_host=user.host,
        imap_port=user.port,
        imap_security="none",
    )
    account_id = connect_account(application_id=default_application().pk, request=request)
    assert Account.objects.filter(pk=account_id).exists()
    return Connected(account_id, user, Mailbox(user))


@pytest.fixture(params=["dovecot", "dovecot_plain", "cyrus"])
def connected(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Connected]:
    """An account on Dovecot with CONDSTORE, on one without, and on Cyrus."""
    server: Dovecot = request.getfixturevalue(request.param)
    one = connect(server.new_user())
    yield one
    sessions.close_idle(older_than=0)
    one.server.close()
