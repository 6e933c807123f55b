"""Reading IMAP answers: tokens, response codes, FETCH items, dates and sets of ids (RFC 3501, 4731, 7162).

An answer comes from `ImapWire` as its pieces: text, literal, text, … Keywords of the protocol are compared without
regard to case. Everything here is pure, and raises Garbled for what cannot be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path


class Garbled(ValueError):
    """An answer that breaks the grammar. Turned into ServerMisbehaved, or skipped, by whoever asked."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A literal too long for memory, in a temporary file that its receiver deletes."""

    path: Path
    size: int


#: Text at even places, literals at odd ones.
Pieces = list["bytes | Spooled"]


class Atom(bytes):
    """A word outside quotes: a keyword, a number, a flag; `NIL` is None instead."""


_TOKEN = re.compile(
    rb"""\s*(?:
      (?P<open>\()
    | (?P<close>\))
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<literal>\{\d+\+?\}$)
    | (?P<atom>(?:\[[^\]]*\]|[^\s()"\[]+|\[)+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def parse_values(pieces: Sequence[bytes | Spooled]) -> list[object]:
    """Return the values of an answer: Atom, bytes (quoted or literal), Spooled, None for NIL, lists for parentheses.

    Raises Garbled.
    """
    stack: list[list[object]] = [[]]
    for place in range(0, len(pieces), 2):
        text = pieces[place]
        assert isinstance(text, bytes)
        literal = pieces[place + 1] if place + 1 < len(pieces) else None
        _read_tokens(text, literal, stack)
    if len(stack) != 1:
        raise Garbled("a parenthesis is open at the end")
    return stack[0]


def _read_tokens(text: bytes, literal: bytes | Spooled | None, stack: list[list[object]]) -> None:
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place, end)
        if found is None:
            raise Garbled(f"unexpected {text[place : place + 20]!r}")
        place = found.end()
        kind = found.lastgroup
        if kind == "open":
            stack.append([])
        elif kind == "close":
            if len(stack) == 1:
                raise Garbled("a parenthesis closes that was never opened")
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(_token_value(kind, found, literal))


def _token_value(kind: str | None, found: re.Match[bytes], literal: bytes | Spooled | None) -> object:
    if kind == "literal":
        return literal
    if kind == "quoted":
        return _ESCAPED.sub(rb"\1", found["quoted"])
    return None if found["atom"].upper() == b"NIL" else Atom(found["atom"])


def pairs(values: object) -> Iterator[tuple[bytes, object]]:
    """Yield (NAME, value) of a list like `(MESSAGES 3 UIDNEXT 4)`; a name without value is dropped."""
    if isinstance(values, list):
        for name, value in zip(values[::2], values[1::2], strict=False):
            if isinstance(name, bytes):
                yield name.upper(), value


def number(value: object) -> int | None:
    """Return a non-negative number, quoted or not; None for anything else."""
    return int(value) if isinstance(value, bytes) and value.isdigit() else None


_CODE = re.compile(rb"\[([A-Za-z][A-Za-z0-9-]*)(?: ([^\]]*(?:\[[^\]]*\][^\]]*)*))?\]\s*")


def response_code(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Split `[CODE arguments] words` into (CODE, arguments, words); CODE is empty where there is none."""
    found = _CODE.match(text)
    if not found:
        return b"", b"", text
    return found[1].upper(), found[2] or b"", text[found.end() :]


_SYSTEM_FLAGS = {
    flag.lower(): flag for flag in (r"\Seen", r"\Answered", r"\Flagged", r"\Deleted", r"\Draft", r"\Recent")
}


@lru_cache(maxsize=4096)
def parse_flags(text: bytes) -> frozenset[str]:
    """Return the flags between the parentheses, as the server spells them, but system flags as RFC 3501 does.

    Without \\Recent: it belongs to the session that reads it, not to the message.
    """
    flags = (flag.decode("utf-8", "replace") for flag in text.replace(b'"', b"").split())
    return frozenset(_SYSTEM_FLAGS.get(flag.lower(), flag) for flag in flags if flag.lower() != "\\recent")


_MONTHS = {
    name: month for month, name in enumerate(b"jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_DATE = re.compile(rb"\s*(\d\d?)-([A-Za-z]{3})-(\d{4}) (\d\d?):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?")


def parse_internal_date(text: bytes) -> datetime | None:
    """Return an INTERNALDATE in UTC, one-digit days too; None where it is no date."""
    found = _DATE.match(text)
    if not found:
        return None
    day, month, year, hour, minute, second, sign, off_hours, off_minutes = found.groups()
    try:
        offset = timedelta(hours=int(off_hours or 0), minutes=int(off_minutes or 0))
        zone = timezone(-offset if sign == b"-" else offset)
        moment = datetime(int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), int(second), tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class FetchRow:
    """One FETCH answer; what the server left out is None. `literals`: item name, upper case -> its octets."""

    sequence: int
    uid: int | None
    flags: frozenset[str] | None
    internal_date: datetime | None
    size: int | None
    literals: dict[bytes, bytes | Spooled]


_ROW = re.compile(rb"\* (\d+) FETCH \(", re.IGNORECASE)
_SIMPLE_ROW = re.compile(rb"\* (\d+) FETCH \((?:UID (\d+) FLAGS \(([^)]*)\)|FLAGS \(([^)]*)\) UID (\d+))[ )]")
_UID = re.compile(rb"(?:^|[ (])UID (\d+)", re.IGNORECASE)
_FLAGS = re.compile(rb"(?:^|[ (])FLAGS \(([^)]*)\)", re.IGNORECASE)
_DATE_ITEM = re.compile(rb'INTERNALDATE "([^"]*)"', re.IGNORECASE)
_SIZE = re.compile(rb"RFC822\.SIZE (\d+)", re.IGNORECASE)
_LITERAL_ITEM = re.compile(rb"([A-Za-z][^ ]*(?:\[[^\]]*\])(?:<\d+>)?|RFC822) ~?\{\d+\+?\}$", re.IGNORECASE)


def parse_uid_flags(line: bytes) -> tuple[int | None, frozenset[str] | None] | None:
    """Return (UID, flags) of a FETCH answer without literals, either None where left out; None: another answer."""
    found = _SIMPLE_ROW.match(line)
    if found:
        return int(found[2] or found[5]), parse_flags(found[3] if found[2] else found[4])
    if not _ROW.match(line):
        return None
    flags = _FLAGS.search(line)
    rest = line[: flags.start()] + line[flags.end() :] if flags else line
    uid = _UID.search(rest)
    return int(uid[1]) if uid else None, parse_flags(flags[1]) if flags else None


def parse_fetch_row(pieces: Pieces) -> FetchRow | None:
    """Return a FETCH answer; None: another answer. Raises Garbled."""
    head = pieces[0]
    assert isinstance(head, bytes)
    found = _ROW.match(head)
    if not found:
        return None
    literals = _named_literals(pieces)
    if literals is None:
        return _parse_row_slowly(int(found[1]), pieces)
    # after the opening parenthesis; literals are cut out, so nothing a sender wrote is searched
    texts = [piece for piece in pieces[::2] if isinstance(piece, bytes)]
    text = b" ".join([texts[0][found.end() :], *texts[1:]])
    flags = _FLAGS.search(text)
    if flags:
        # keywords may be spelled like items
        text = text[: flags.start()] + text[flags.end() :]
    uid, date, size = _UID.search(text), _DATE_ITEM.search(text), _SIZE.search(text)
    return FetchRow(
        sequence=int(found[1]),
        uid=int(uid[1]) if uid else None,
        flags=parse_flags(flags[1]) if flags else None,
        internal_date=parse_internal_date(date[1]) if date else None,
        size=int(size[1]) if size else None,
        literals=literals,
    )


def _named_literals(pieces: Pieces) -> dict[bytes, bytes | Spooled] | None:
    """Return item name -> literal; None where the answer needs the slow way: an item came as a quoted string."""
    if len(pieces) == 1:
        text = pieces[0]
        return {} if isinstance(text, bytes) and b"BODY[" not in text.upper() else None
    literals: dict[bytes, bytes | Spooled] = {}
    for place in range(0, len(pieces) - 1, 2):
        text = pieces[place]
        assert isinstance(text, bytes)
        named = _LITERAL_ITEM.search(text)
        if not named or text.count(b'"') > 2:
            return None
        literals[named[1].upper()] = pieces[place + 1]
    return literals


def _parse_row_slowly(sequence: int, pieces: Pieces) -> FetchRow:
    values = parse_values(pieces)
    # "*", sequence number, "FETCH", items
    if len(values) < 4 or not isinstance(values[3], list):
        raise Garbled("FETCH without items")
    items = dict(pairs(values[3]))
    flags, date = items.get(b"FLAGS"), items.get(b"INTERNALDATE")
    return FetchRow(
        sequence=sequence,
        uid=number(items.get(b"UID")),
        flags=parse_flags(b" ".join(f for f in flags if isinstance(f, bytes))) if isinstance(flags, list) else None,
        internal_date=parse_internal_date(date) if isinstance(date, bytes) else None,
        size=number(items.get(b"RFC822.SIZE")),
        # NIL: no data, as of a message that another session has just expunged (RFC 2180 4.1.2)
        literals={
            name: value
            for name, value in items.items()
            if (name.startswith(b"BODY[") or name == b"RFC822") and isinstance(value, bytes | Spooled)
        },
    )


def parse_set(text: bytes) -> Iterator[int]:
    """Yield the ids of a set like `1:3,7`. Raises Garbled."""
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        try:
            low, high = int(first), int(last or first)
        except ValueError:
            raise Garbled(f"not a set of ids: {text[:40]!r}") from None
        yield from range(min(low, high), max(low, high) + 1)


def format_sets(ids: Iterable[int], *, most_ids: int, most_bytes: int = 4000) -> Iterator[tuple[list[int], bytes]]:
    """Yield (ids ascending, their set with ranges) in pieces a server accepts: RFC 7162 4 asks for 8,192 a line."""
    batch: list[int] = []
    ranges: list[bytes] = []
    length = 0
    for low, high in _runs(sorted(set(ids))):
        while low <= high:
            top = min(high, low + most_ids - len(batch) - 1)
            text = b"%d" % low if low == top else b"%d:%d" % (low, top)
            ranges.append(text)
            batch.extend(range(low, top + 1))
            length += len(text) + 1
            low = top + 1
            if len(batch) >= most_ids or length > most_bytes:
                yield batch, b",".join(ranges)
                batch, ranges, length = [], [], 0
    if batch:
        yield batch, b",".join(ranges)


def _runs(ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = previous = None
    for one in ids:
        if previous is None or one != previous + 1:
            if start is not None and previous is not None:
                yield start, previous
            start = one
        previous = one
    if start is not None and previous is not None:
        yield start, previous
