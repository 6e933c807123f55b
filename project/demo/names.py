"""Mailbox names: modified UTF-7 (RFC 3501 5.1.3), INBOX, and the wildcards of LIST."""

from __future__ import annotations

import binascii
import re
from functools import lru_cache


def encode_name(name: str) -> bytes:
    """Return the name as it goes over the wire: printable ASCII as it is, all else as `&` base64 `-`."""
    parts: list[bytes] = []
    for shift, plain in re.findall(r"([^ -~]+)|([ -~]+)", name):
        parts.append(_shifted(shift) if shift else plain.replace("&", "&-").encode("ascii"))
    return b"".join(parts)


def _shifted(text: str) -> bytes:
    packed = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return b"&" + packed.rstrip(b"=").replace(b"/", b",") + b"-"


def decode_name(wire: bytes) -> str:
    """Return the name that `wire` spells.

    Bytes outside ASCII are taken for UTF-8, as lenient servers do. Raises ValueError for a broken shift sequence.
    """
    return re.sub(r"&([^-]*)-", _unshifted, wire.decode("utf-8"))


def _unshifted(found: re.Match[str]) -> str:
    packed = found[1].replace(",", "/")
    if not packed:
        return "&"
    return binascii.a2b_base64(packed + "=" * (-len(packed) % 4)).decode("utf-16-be")


def canonical_name(name: str, delimiter: str) -> str:
    """Return `name` with its first level spelt INBOX whatever its case, and no delimiter at its end."""
    first, separator, rest = name.rstrip(delimiter).partition(delimiter)
    return ("INBOX" if first.upper() == "INBOX" else first) + separator + rest


@lru_cache(maxsize=256)
def _pattern(pattern: str, delimiter: str) -> re.Pattern[str]:
    within_level = f"[^{re.escape(delimiter)}]*"
    pieces = [{"*": ".*", "%": within_level}.get(char, re.escape(char)) for char in pattern]
    return re.compile("".join(pieces), re.DOTALL)


def name_matches(name: str, pattern: str, delimiter: str) -> bool:
    """Tell whether LIST `pattern` names the mailbox: `*` any characters, `%` any but the delimiter."""
    if _pattern(pattern, delimiter).fullmatch(name):
        return True
    return name == "INBOX" and _pattern(pattern.upper(), delimiter).fullmatch(name) is not None


def parents(name: str, delimiter: str) -> list[str]:
    """Return the names above `name`, outermost first."""
    levels = name.split(delimiter)
    return [delimiter.join(levels[:depth]) for depth in range(1, len(levels))]
