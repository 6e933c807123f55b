"""Base64 taken out of raw mail before it is compressed, and put back to the very same bytes.

Attachments travel as base64, which hides their repetitions from a compressor and keeps a third of its own overhead
after it. What is wrapped as mailers wrap it is stored decoded; anything odd stays as it is. Pure. Source: RFC 2045 6.8.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: Bytes that a run must have to be worth it.
SHORTEST = 256
#: Characters a line may have (RFC 5321 4.5.3.1.6), and must have to be worth it.
LONGEST_LINE = 998
SHORTEST_LINE = 40
#: Bytes of further headers that may stand between the word "base64" and the content.
HEADERS = 8192
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
    at = size = 0
    for start in _starts(raw, continued=continued):
        end = _end(raw, start) if start >= at else 0
        width = raw.find(NEWLINE, start, start + LONGEST_LINE + 2) - start
        if end - start < SHORTEST or width < SHORTEST_LINE or width % 4:
            continue
        content = _decoded(raw[start:end], width)
        if content is None:
            continue
        stripped += (raw[at:start], content)
        size += start - at
        runs.append(Run(size, len(content), width))
        size += len(content)
        at = end
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


def _starts(raw: bytes, *, continued: bool) -> Iterator[int]:
    """Where base64 may begin, ascending: after the headers that announce it, or at the first whole line."""
    if continued and (first := raw.find(NEWLINE, 0, LONGEST_LINE)) >= 0:
        yield first + 2
    for hit in sorted(_hits(raw)):
        blank = raw.find(NEWLINE * 2, hit, hit + HEADERS)
        if blank >= 0:
            yield blank + 4


def _hits(raw: bytes) -> Iterator[int]:
    for word in SPELLINGS:
        at = raw.find(word)
        while at >= 0:
            yield at
            at = raw.find(word, at + len(word))


def _end(raw: bytes, start: int) -> int:
    """Where what begins at `start` ends: before the next boundary and the line ends above it, or with a whole line."""
    end = raw.find(b"\r\n--", start)
    if end < 0:
        end = raw.rfind(NEWLINE, start)
    while raw.startswith(NEWLINE, end - 2) and end - 2 > start:
        end -= 2
    return end


def _decoded(text: bytes, width: int) -> bytes | None:
    """Decode base64; None: it is not exactly what encoding gives."""
    try:
        content = binascii.a2b_base64(text)
    except binascii.Error:
        return None
    return content if _wrapped(content, width) == text else None


def _wrapped(content: bytes, width: int) -> bytes:
    text = binascii.b2a_base64(content, newline=False)
    return NEWLINE.join([text[at : at + width] for at in range(0, len(text), width)])
