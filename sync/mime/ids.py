"""Message ids in headers (RFC 5322 3.6.4), also those that no grammar allows: real threads hang on them."""

from __future__ import annotations

import re

from sync.mime.charsets import storable
from sync.mime.values import MAX_IDS

_BRACKETED = re.compile(r"<([^<>]*)>")


def parse_ids(text: str) -> tuple[str, ...]:
    """Return the ids of an unfolded header value in order, without angle brackets; empty ones are left out."""
    if not text:
        return ()
    found = _BRACKETED.findall(text, 0, 1 << 18)
    ids = ["".join(each.split()) for each in found[:MAX_IDS]]
    return tuple(storable(each) for each in ids if each)


def parse_message_id(text: str) -> str | None:
    """Return the id of a Message-ID value, brackets or not; None when it holds none."""
    ids = parse_ids(text)
    if ids:
        return ids[0]
    bare = storable(text.strip("<> \t"))
    return bare or None
