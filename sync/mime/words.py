"""Encoded words in headers (RFC 2047), also the broken ones that mail is full of."""

from __future__ import annotations

import binascii
import re

from sync.mime.charsets import decode_text, find_codec

#: The beginning of an encoded word. The charset is bounded: an unbounded one is quadratic on hostile headers.
_WORD_START = re.compile(r"=\?([^?=\s][^?\s]{0,63})\?([bBqQ])\?")
_Q_BYTE = re.compile(rb"=([0-9A-Fa-f]{2})")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))


def decode_words(text: str) -> str:
    """Return an unfolded header value with its encoded words decoded.

    White space between two of them goes; neighbours of one charset are joined as bytes first, since senders cut
    characters in half. A word of an unknown charset is read as UTF-8 or Windows-1252.
    """
    if "=?" not in text:
        return text
    pieces: list[str] = []
    run: list[bytes] = []
    run_charset = ""
    position = 0
    for start, end, charset, data in _find_words(text):
        gap = text[position:start]
        if run and (charset != run_charset or gap.strip()):
            pieces.append(decode_text(b"".join(run), run_charset)[0])
            run = []
        if position == 0 or gap.strip():
            pieces.append(gap)
        run.append(data)
        run_charset = charset
        position = end
    if run:
        pieces.append(decode_text(b"".join(run), run_charset)[0])
    pieces.append(text[position:])
    return "".join(pieces)


def _find_words(text: str) -> list[tuple[int, int, str, bytes]]:
    """Find each encoded word: where it starts and ends, its charset in lower case, its bytes."""
    words = []
    position = 0
    while found := _WORD_START.search(text, position):
        start = found.end()
        end = text.find("?=", start)
        if end < 0:
            break
        charset = found[1].lower()
        words.append((found.start(), end + 2, charset, _decode_payload(text[start:end], found[2], charset)))
        position = end + 2
    return words


def _decode_payload(payload: str, encoding: str, charset: str) -> bytes:
    # Raw 8-bit inside a word is in the word's own charset, as far as it is in any.
    data = payload.encode(find_codec(charset) or "utf-8", "replace") if not payload.isascii() else payload.encode()
    if encoding in "qQ":
        return _Q_BYTE.sub(lambda hex_: bytes([int(hex_[1], 16)]), data.replace(b"_", b" "))
    return decode_base64_word(data)


def decode_base64_word(data: bytes) -> bytes:
    """Decode base64 that may lack padding or hold foreign characters."""
    decoded = b""
    for run in data.split(b"="):  # padding in the middle: two encodings were glued together
        letters = run.translate(None, _NOT_BASE64)
        if len(letters) % 4 == 1:
            letters = letters[:-1]
        decoded += binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    return decoded
