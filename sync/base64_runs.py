"""Base64 taken out of raw mail before it is compressed, and put back to the very same bytes.

Attachments travel as base64, which hides their repetitions from a compressor and keeps a third of its own overhead
after it. What is wrapped as mailers wrap it is stored decoded; anything odd stays as it is. Pure. Source: RFC 2045 6.8.
"""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import NamedTuple

import pybase64

#: Bytes that a run must have to be worth it.
SHORTEST = 256
#: Characters a line may have (RFC 5321 4.5.3.1.6), and must have to be worth it.
LONGEST_LINE = 998
SHORTEST_LINE = 40
#: Bytes of further headers that may stand between the word "base64" and the content.
HEADERS = 8192
#: Runs that may turn out to be none before the rest is left as it is: each may cost a pass over what follows.
PATIENCE = 50
#: How mails spell the encoding: a search for each is far cheaper than one that ignores case.
SPELLINGS = (b"base64", b"BASE64", b"Base64")
NEWLINE = b"\r\n"


class Run(NamedTuple):
    """Base64 that was taken out: where its bytes begin in the stripped text, how many, and the width of its lines."""

    offset: int
    length: int
    width: int


def take_out(raw: bytes, *, continued: bool = False) -> tuple[bytes, list[Run]]:
    """Return raw mail with its base64 decoded, and where; `put_back` undoes it exactly.

    `continued`: the bytes are not the beginning of their mail, and may begin within base64.
    """
    stripped: list[bytes] = []
    runs: list[Run] = []
    announcements = _Announcements(raw)
    at = size = 0
    start = raw.find(NEWLINE, 0, LONGEST_LINE) + 2 if continued else announcements.next_start(0)
    patience = PATIENCE
    while start is not None and patience:
        width = raw.find(NEWLINE, start, start + LONGEST_LINE + 2) - start
        end = _end(raw, start) if width >= SHORTEST_LINE and width % 4 == 0 else start
        content = _decoded(raw[start:end], width) if end - start >= SHORTEST else None
        if content is None:
            patience -= end > start
        else:
            stripped += (raw[at:start], content)
            size += start - at
            runs.append(Run(size, len(content), width))
            size += len(content)
            at = end
        start = announcements.next_start(max(at, start))
    if not runs:
        return raw, runs
    stripped.append(raw[at:])
    return b"".join(stripped), runs


def put_back(stripped: bytes, runs: Sequence[Run]) -> bytes:
    """Return the raw mail of which `take_out` made these."""
    if not runs:
        return stripped
    pieces: list[bytes] = []
    at = 0
    for offset, length, width in runs:
        pieces += (stripped[at:offset], _wrapped(stripped[offset : offset + length], width))
        at = offset + length
    pieces.append(stripped[at:])
    return b"".join(pieces)


class _Announcements:
    """The places of a mail that say "base64": each byte is searched once, and not what was taken out meanwhile."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._next = dict.fromkeys(SPELLINGS, -1)

    def next_start(self, position: int) -> int | None:
        """Return where the content begins that is announced next at or after `position`."""
        while True:
            hit = min(self._find(word, position) for word in SPELLINGS)
            if hit == len(self._raw):
                return None
            blank = self._raw.find(NEWLINE * 2, hit, hit + HEADERS)
            if blank >= 0:
                return blank + 4
            position = hit + 1

    def _find(self, word: bytes, position: int) -> int:
        if self._next[word] < position:
            found = self._raw.find(word, position)
            self._next[word] = len(self._raw) if found < 0 else found
        return self._next[word]


def _end(raw: bytes, start: int) -> int:
    """Where what begins at `start` ends: before the next boundary and the line ends above it, or with a whole line."""
    end = raw.find(b"\r\n--", start)
    if end < 0:
        end = raw.rfind(NEWLINE, start)
    while raw.startswith(NEWLINE, end - 2) and end - 2 > start:
        end -= 2
    return end


def _decoded(text: bytes, width: int) -> bytes | None:
    """Decode base64; None: it is not exactly what `_wrapped` makes of it."""
    letters = text.translate(None, NEWLINE)
    breaks = (len(letters) - 1) // width
    told = (text[width :: width + 2], text[width + 1 :: width + 2])
    if len(text) - len(letters) != 2 * breaks or told != (b"\r" * breaks, b"\n" * breaks):
        return None
    try:
        content = pybase64.b64decode(letters, validate=True)
    except binascii.Error:
        return None
    # bits that padding leaves over may be set
    return content if pybase64.b64encode(content) == letters else None


def _wrapped(content: bytes, width: int) -> bytes:
    text = pybase64.b64encode(content)
    return NEWLINE.join([text[at : at + width] for at in range(0, len(text), width)])
