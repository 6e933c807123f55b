"""Errors of mirroring, named by what the caller does next.

MailError
├── Transient(retry_after)      later: try again after a while
│   ├── Unreachable             no connection, or it broke
│   └── Throttled               the server asked us to slow down
├── NeedsOwner                  stop, and tell the owner
│   ├── BadCredentials          login refused
│   └── AccessDisabled          the server forbids this way in (IMAP switched off, app password wanted)
├── FolderGone                  drop the folder
└── ServerMisbehaved            count it, back off, show it in the admin

Nothing is ever tried again at once without end.
"""

from __future__ import annotations

from typing import Literal

#: Where connecting failed; the `stage` of `provider_error` on the wire.
Stage = Literal["resolve", "connect", "tls", "login", "list", "smtp"]


class MailError(Exception):
    """Whatever goes wrong between us and a mail server.

    `stage` says how far connecting had come; None once the session was in use.
    The message is for people and never holds a secret.
    """

    def __init__(self, message: str, *, stage: Stage | None = None) -> None:
        super().__init__(message)
        self.stage: Stage | None = stage


class Transient(MailError):
    """It may work later. `retry_after`: seconds the server asked for; None: our own back-off."""

    def __init__(self, message: str, *, stage: Stage | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, stage=stage)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection could be made, or the one we had broke; the session is unusable."""


class Throttled(Transient):
    """The server asked us to slow down (RFC 5530 LIMIT, UNAVAILABLE, INUSE; too many connections)."""


class NeedsOwner(MailError):
    """Only the owner of the mailbox can mend this."""


class BadCredentials(NeedsOwner):
    """The server refused the user name or the password (RFC 5530 AUTHENTICATIONFAILED, EXPIRED)."""


class AccessDisabled(NeedsOwner):
    """The login is known but this way in is closed (RFC 5530 AUTHORIZATIONFAILED, CONTACTADMIN; a bad certificate)."""


class FolderGone(MailError):
    """The folder does not exist on the server any more (RFC 5530 NONEXISTENT)."""


class ServerMisbehaved(MailError):
    """The server broke its protocol; the session is unusable."""
