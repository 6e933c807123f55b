"""Mailbox names, read by means of our own: modified UTF-7 (RFC 3501 5.1.3)."""

from __future__ import annotations

import binascii
from itertools import groupby

#: Before a name that is no proper modified UTF-7, kept a character a byte; as `Folder.ref` has it.
VERBATIM = "\ufdd0"
#: Stands for the byte 0 behind it: PostgreSQL stores no NUL.
ZERO = "\ufdd1"


def ref_of(name: bytes) -> str:
    """Return what `Folder.ref` says of a mailbox with this name on the wire."""
    if name.upper() == b"INBOX":
        return "INBOX"
    text = decode(name)
    if text is None or "\0" in text or text.startswith(VERBATIM) or encode(text) != name:
        return VERBATIM + name.decode("latin-1").replace("\0", ZERO)
    return text


def readable(name: bytes) -> str:
    """Return a name as people are shown it: also one that is no proper modified UTF-7."""
    if name.upper() == b"INBOX":
        return "INBOX"
    text = decode(name)
    return (name.decode("utf-8", "replace") if text is None else text).replace("\0", "\ufffd")


def path_of(name: bytes, delimiter: str | None) -> str:
    """Return all levels of a name, those without a name left out, joined by the delimiter."""
    whole = readable(name)
    levels = [level for level in whole.split(delimiter) if level] if delimiter else []
    return (delimiter or "").join(levels) or whole


def decode(name: bytes) -> str | None:
    """Decode modified UTF-7; None: it is none."""
    text, at = "", 0
    while at < len(name):
        begin = name.find(b"&", at)
        end = name.find(b"-", begin) if begin >= 0 else -1
        plain, at = (name[at:], len(name)) if end < 0 else (name[at:begin], end + 1)
        try:
            text += plain.decode("ascii")
            if end >= 0:
                text += _unpack(name[begin + 1 : end]) if end > begin + 1 else "&"
        except ValueError:
            return None
    return text


def _unpack(packed: bytes) -> str:
    padded = packed.replace(b",", b"/") + b"=" * (-len(packed) % 4)
    return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")


def encode(text: str) -> bytes:
    """Encode as modified UTF-7."""
    runs = [(plain, "".join(run)) for plain, run in groupby(text, key=lambda letter: " " <= letter <= "~")]
    return b"".join(run.replace("&", "&-").encode("ascii") if plain else _pack(run) for plain, run in runs)


def _pack(text: str) -> bytes:
    packed = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return b"&" + packed.rstrip(b"=").replace(b"/", b",") + b"-"


def quoted(name: bytes) -> bytes | None:
    """Return a quoted string (RFC 3501 4.3); None: no command can carry it."""
    if any(one in name for one in b"\r\n\0"):
        return None
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
