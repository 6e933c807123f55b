"""Ids on the wire: decimal digits as strings, since 64 bits do not fit a JavaScript number."""

from __future__ import annotations

import re

_ID = re.compile(r"[1-9][0-9]{0,18}")
_LARGEST = 2**63 - 1


def parse_id(text: str) -> int:
    """Return the id that a client names; 0, which nothing has, where it cannot be one."""
    number = int(text) if _ID.fullmatch(text) else 0
    return number if number <= _LARGEST else 0
