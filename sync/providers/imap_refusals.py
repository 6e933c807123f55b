"""What a server's NO, BAD or BYE means for us, by its response code (RFC 5530) and by what was asked."""

from __future__ import annotations

import re

from sync.errors import (
    AccessDisabled,
    BadCredentials,
    FolderGone,
    MailError,
    ServerMisbehaved,
    Stage,
    Throttled,
    Transient,
    Unreachable,
)
from sync.providers.imap_parse import response_code

_BY_CODE: dict[bytes, type[MailError]] = {
    b"AUTHENTICATIONFAILED": BadCredentials,
    b"EXPIRED": BadCredentials,
    b"AUTHORIZATIONFAILED": AccessDisabled,
    b"CONTACTADMIN": AccessDisabled,
    b"PRIVACYREQUIRED": AccessDisabled,
    b"UNAVAILABLE": Throttled,
    b"INUSE": Throttled,
    b"LIMIT": Throttled,
    b"THROTTLED": Throttled,
    b"OVERQUOTA": Throttled,
    b"NONEXISTENT": FolderGone,
    b"TRYCREATE": FolderGone,
    b"SERVERBUG": Transient,
    b"CORRUPTION": Transient,
    b"NOPERM": Transient,
}

#: Words of a refused login that carries no code. Only these make it temporary: to try a good password again later
#: costs little, to tell the owner of a full server that the password is wrong costs an owner's trust.
_LATER = re.compile(
    rb"too many|maximum number|temporar|try again|\blater\b|unavailable|time[d -]*out|internal|overload|not connected",
    re.IGNORECASE,
)
#: Words of a refused SELECT or STATUS that carries no code. Dovecot 2.3 goes on listing a deleted folder that had
#: folders below it as if it were there, for ever, and says so only here.
_GONE = re.compile(rb"n[o']t exist|no such|not found|non-?existent|unknown (?:mailbox|folder)", re.IGNORECASE)
#: Longest piece of a server's own words that goes into an error.
_MOST_WORDS = 300


def refusal(status: bytes, text: bytes, *, asked: str, stage: Stage | None) -> MailError:
    """Return the error for a tagged NO or BAD, or an untagged BYE.

    `asked`: the command, for people; it never holds a secret. `stage`: "login" while logging in.
    """
    code, _, words = response_code(text)
    message = f"{asked}: {status.decode('ascii', 'replace')} {_printable(text)}"
    kind = _BY_CODE.get(code)
    if kind is FolderGone and stage == "login":
        kind = BadCredentials
    if kind is None:
        kind = _kind_without_code(status, code, words, stage)
    return kind(message, stage=stage)


def _kind_without_code(status: bytes, code: bytes, words: bytes, stage: Stage | None) -> type[MailError]:
    if status == b"BYE":
        return Throttled if _LATER.search(words) else Unreachable
    if stage == "login":
        if _LATER.search(words):
            return Throttled
        if code == b"ALERT":
            # meant to be shown to the owner: an app password is wanted, IMAP is switched off
            return AccessDisabled
        # RFC 3501 6.2.3: NO says that the user name or password was rejected
        return BadCredentials if status == b"NO" else ServerMisbehaved
    if status != b"NO":
        return ServerMisbehaved
    return FolderGone if _GONE.search(words) else Transient


def _printable(text: bytes) -> str:
    shown = text[:_MOST_WORDS].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in shown)
