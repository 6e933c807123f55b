"""Addresses that people type: here a mistake is refused, while a header's is read as well as it can be.

The only door to flanker, whose grammar tells good addresses from bad ones better than anything else we measured
(docs/decisions/parsing.md). It is imported on first use: it costs 20 MB and a quarter of a second.
"""

from __future__ import annotations

import logging
import re
import warnings
from functools import lru_cache
from types import ModuleType

#: Longest address that SMTP can carry (RFC 5321 4.5.3.1.3, less the angle brackets).
MAX_ADDRESS = 254

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def check_typed_address(text: str) -> str:
    """Return the address in what somebody typed, `user@example.org` or `Name <user@example.org>`.

    As typed, but for the host name's letters, which become small.
    Raises ValueError with a sentence that names the fault. Asks no server: the mailbox may still not exist.
    """
    text = text.strip()
    found = None if _CONTROL.search(text) else _address_grammar().parse(text, strict=True)
    email: str = found.address if found is not None and found.addr_type == "email" else ""
    if email and len(email) <= MAX_ADDRESS:
        return email
    raise ValueError(f"{_find_fault(text)}: {text[:80]!r}")


def _find_fault(text: str) -> str:
    """Name what is wrong with an address that the grammar refuses."""
    local, at, domain = text.rpartition("@")
    if not text:
        return "no address given"
    if _CONTROL.search(text):
        return "an address holds no control characters"
    if len(text) > MAX_ADDRESS:
        return f"an address has at most {MAX_ADDRESS} characters"
    if not at:
        return 'an address needs an "@"'
    if any(separator in text for separator in ",;") and text.count("@") > 1:
        return "more than one address given"
    if "@" in local and '"' not in local:
        return 'more than one "@"'
    if not local:
        return 'no name before the "@"'
    if not re.fullmatch(r"[^\s.@]+(\.[^\s.@]+)*>?", domain):
        return 'no valid host name behind the "@"'
    return 'no valid name before the "@"'


@lru_cache(maxsize=1)
def _address_grammar() -> ModuleType:
    # Building its grammar, flanker logs what it deems odd, and so it does with each bad address.
    logger = logging.getLogger("flanker")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(flanker|webob)\.")
        from flanker.addresslib import address
    module: ModuleType = address
    return module
