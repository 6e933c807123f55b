"""Mailbox names on the wire of IMAP: modified UTF-7 and quoting (RFC 3501 5.1.3 and 9)."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

from sync.errors import FolderGone

#: First character of a ref whose name cannot be decoded and encoded again to the same bytes; the bytes follow,
#: one character each. A noncharacter, which Unicode keeps for internal use, so no real name begins with it.
VERBATIM = "\ufdd0"
#: Stands for the byte 0 behind VERBATIM: PostgreSQL stores no NUL.
_ZERO = "\ufdd1"

_SHIFTED = re.compile(r"&([^-]*)-")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+|&")
_UNSENDABLE = re.compile(rb"[\r\n\0]")


def decode_name(name: bytes) -> str:
    """Return the ref of a mailbox: its name in Unicode, INBOX in capitals.

    `encode_name` gives back the same bytes, whatever the server sent: a name that is not proper modified UTF-7
    (raw UTF-8 or Latin-1, a stray ampersand), or that PostgreSQL cannot store (NUL), is kept byte by
    byte behind VERBATIM.
    """
    if name.upper() == b"INBOX":
        return "INBOX"
    try:
        decoded = _from_utf7(name.decode("ascii"))
    except ValueError:
        return _verbatim(name)
    if _to_utf7(decoded) != name or decoded.startswith(VERBATIM) or "\0" in decoded:
        return _verbatim(name)
    return decoded


def _verbatim(name: bytes) -> str:
    return VERBATIM + name.decode("latin-1").replace("\0", _ZERO)


def encode_name(ref: str) -> bytes:
    """Return the bytes the server knows a mailbox by."""
    if ref.startswith(VERBATIM):
        return ref[len(VERBATIM) :].replace(_ZERO, "\0").encode("latin-1")
    return _to_utf7(ref)


def readable_name(ref: str) -> str:
    """Return the name to show to people: the ref itself, or a fair reading of what could not be decoded."""
    if not ref.startswith(VERBATIM):
        return ref
    raw = encode_name(ref)
    try:
        readable = _from_utf7(raw.decode("ascii"))
    except ValueError:
        readable = raw.decode("utf-8", "replace")
    return readable.replace("\0", "\ufffd")


def is_sendable(ref: str) -> bool:
    """False for a name that no command can carry: it holds a line break or NUL, which came in a literal."""
    return not _UNSENDABLE.search(encode_name(ref))


def quote_name(ref: str) -> bytes:
    """Return the mailbox name as a quoted string for a command.

    Raises FolderGone for a name no command can carry (a line break that came in a literal): it cannot be opened.
    """
    return quote(encode_name(ref))


def quote(text: bytes) -> bytes:
    """Return a quoted string (RFC 3501 9). Raises FolderGone when it holds a line break or NUL."""
    if _UNSENDABLE.search(text):
        raise FolderGone("a name with a line break or NUL cannot be sent")
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _from_utf7(text: str) -> str:
    def unshift(found: re.Match[str]) -> str:
        if not found[1]:
            return "&"
        packed = found[1].replace(",", "/")
        return b64decode(packed + "=" * (-len(packed) % 4), validate=True).decode("utf-16-be")

    return _SHIFTED.sub(unshift, text)


def _to_utf7(text: str) -> bytes:
    def shift(found: re.Match[str]) -> str:
        if found[0] == "&":
            return "&-"
        packed = b64encode(found[0].encode("utf-16-be", "surrogatepass")).decode("ascii")
        return "&" + packed.rstrip("=").replace("/", ",") + "-"

    return _UNPRINTABLE.sub(shift, text).encode("ascii")
