"""Content-Transfer-Encodings undone (RFC 2045 6), a slice at a time: no body is ever in memory whole."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import pybase64

from sync.mime.values import ParsedPart, Raw

#: Encoded bytes taken at once.
SLICE = 1 << 18

_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_UU_LINE = re.compile(rb"\n([ -`])")
_UUENCODE = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})


def decode_part(raw_slice: bytes, encoding: str) -> bytes:
    """Return an encoded body decoded; `encoding` as in ParsedPart. Damage is skipped, never raised."""
    return b"".join(_decode(raw_slice, 0, len(raw_slice), encoding))


def iter_decoded(raw: Raw, part: ParsedPart) -> Iterator[bytes]:
    """Yield the decoded content of a part of `raw`, in pieces of at most SLICE bytes."""
    yield from _decode(raw, part.offset, part.offset + part.length, part.encoding)


def iter_span(raw: Raw, start: int, end: int, encoding: str) -> Iterator[bytes]:
    """Yield the decoded bytes of raw[start:end]."""
    yield from _decode(raw, start, end, encoding)


def count_decoded(raw: Raw, start: int, end: int, encoding: str) -> int:
    """Return how many bytes raw[start:end] decodes to."""
    if encoding not in ("base64", "quoted-printable") and encoding not in _UUENCODE:
        return end - start
    if encoding in _UUENCODE:
        return _count_uu(raw, start, end)
    counted = _count_base64(raw, start, end) if encoding == "base64" else None
    return sum(map(len, _decode(raw, start, end, encoding))) if counted is None else counted


def _count_base64(raw: Raw, start: int, end: int) -> int | None:
    """Count by the letters alone, which takes half of decoding them; None: padding stands within them."""
    letters = 0
    for piece in _slices(raw, start, end):
        kept = piece.translate(None, _NOT_BASE64)
        padding = kept.find(b"=")
        letters += len(kept) if padding < 0 else padding
        if padding >= 0:
            # true padding ends the encoding, whatever follows
            return letters * 3 // 4 if letters % 4 >= 2 else None
    return letters * 3 // 4


def _decode(raw: Raw, start: int, end: int, encoding: str) -> Iterator[bytes]:
    if encoding == "base64":
        return _decode_base64(raw, start, end)
    if encoding == "quoted-printable":
        return _decode_quoted_printable(raw, start, end)
    if encoding in _UUENCODE:
        return _decode_uu(raw, start, end)
    return _slices(raw, start, end)


def _slices(raw: Raw, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, SLICE):
        yield raw[position : min(position + SLICE, end)]


def _decode_base64(raw: Raw, start: int, end: int) -> Iterator[bytes]:
    """Decode until the padding; foreign characters are skipped, a broken last group gives what it holds."""
    rest = b""
    for piece in _slices(raw, start, end):
        letters = rest + piece.translate(None, _NOT_BASE64)
        padding = letters.find(b"=")
        while padding >= 0:
            if padding % 4 >= 2:  # true padding: what follows is no part of the encoding
                yield _decode_letters(letters[:padding])
                return
            letters = letters[:padding] + letters[padding:].lstrip(b"=")
            padding = letters.find(b"=")
        whole = len(letters) - len(letters) % 4
        yield pybase64.b64decode(letters[:whole])
        rest = letters[whole:]
    yield _decode_letters(rest)


def _decode_letters(letters: bytes) -> bytes:
    """Decode letters whose padding is missing."""
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _decode_quoted_printable(raw: Raw, start: int, end: int) -> Iterator[bytes]:
    rest = b""
    for piece in _slices(raw, start, end):
        data = rest + piece
        cut = data.rfind(b"\n") + 1 or max(len(data) - 2, 0)  # never between "=" and what belongs to it
        if data[cut - 1 : cut] == b"=" and cut:
            cut -= 1
        yield binascii.a2b_qp(data[:cut])
        rest = data[cut:]
    yield binascii.a2b_qp(rest)


def _decode_uu(raw: Raw, start: int, end: int) -> Iterator[bytes]:
    position = raw.find(b"begin ", start, end)
    if position < 0:
        return
    position = raw.find(b"\n", position, end) + 1
    while 0 < position < end:
        newline = raw.find(b"\n", position, min(end, position + 1000))
        stop = newline if newline >= 0 else min(end, position + 1000)
        line = raw[position:stop].rstrip(b"\r\n")
        if line in (b"end", b"`", b" ", b""):
            return
        yield _decode_uu_line(line)
        position = stop + 1


def _count_uu(raw: Raw, start: int, end: int) -> int:
    """Count by the first character of each line, which tells its bytes: decoding line by line takes seconds."""
    begin = raw.find(b"begin ", start, end)
    start = raw.find(b"\n", begin, end) if begin >= 0 else -1
    if start < 0:
        return 0
    stop = raw.find(b"\nend", start, end)
    stop = stop if stop >= 0 else end
    total = 0
    while start < stop:
        piece = raw[start : min(start + SLICE, stop)]
        total += sum((first - 32) & 63 for first in b"".join(_UU_LINE.findall(piece)))
        start += max(len(piece) - 1, 1)  # a line break at the end is seen again, with what follows it
    return total


def _decode_uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        # Some encoders pad lines with rubbish; the first character tells how many bytes there are.
        wanted = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:wanted])
        except binascii.Error:
            return b""
