"""Commands as they come over the wire, and the small shapes of answers (RFC 3501 9, RFC 7888)."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeAlias

#: Bytes of the largest literal we take; larger ones are refused (RFC 7888 4).
LARGEST_LITERAL = 256 << 20

_LITERAL_AHEAD = re.compile(rb"\{(\d{1,12})(\+?)\}\r?\n\Z")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Word(bytes):
    """An unquoted atom, as against the bytes of a quoted string or a literal."""


#: What an argument can be: an atom (`Word`), a string, or a parenthesised list of such.
Value: TypeAlias = "bytes | list[Value]"


class BadSyntax(Exception):
    """The command cannot be understood: answered BAD."""


class TooLarge(Exception):
    """The client sends a line or a literal that we do not take; there is no way to find its next command."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its tag, its name in upper case (without UID), and its arguments."""

    tag: str
    name: str
    by_uid: bool
    args: list[Value]

    @property
    def full_name(self) -> str:
        """The name as written, such as `UID FETCH`."""
        return f"UID {self.name}" if self.by_uid else self.name


async def read_command(reader: asyncio.StreamReader, go_on: Callable[[], Awaitable[None]]) -> bytes:
    """Return one whole command with its literals in place; `b""` at the end of the connection.

    `go_on` sends the continuation that a synchronising literal waits for. Raises TooLarge.
    """
    whole = bytearray()
    while line := await _read_line(reader):
        whole += line
        ahead = _LITERAL_AHEAD.search(line)
        if ahead is None:
            return bytes(whole)
        size = int(ahead[1])
        if size > LARGEST_LITERAL:
            raise TooLarge(f"a literal of {size} bytes")
        if not ahead[2]:
            await go_on()
        whole += await reader.readexactly(size)
    return b""


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as error:
        # The stream's way of saying that its limit is reached.
        raise TooLarge("the line") from error


def parse_command(line: bytes) -> Command:
    """Take a command apart. Raises BadSyntax, with the tag as its second argument where one was readable."""
    head = re.match(rb'([^\s(){%*"\\+]+) +(?:(UID) +)?([A-Za-z]+) ?', line, re.IGNORECASE)
    if head is None:
        tag = line.split(b" ", 1)[0].decode("ascii", "replace").strip()
        raise BadSyntax("cannot read a tag and a command", tag or "*")
    tag = head[1].decode("ascii", "replace")
    try:
        args = _Arguments(line, head.end()).read()
    except BadSyntax as error:
        raise BadSyntax(str(error), tag) from error
    return Command(tag, head[3].decode("ascii").upper(), head[2] is not None, args)


class _Arguments:
    """Reads the arguments of one command from its bytes."""

    _ATOM = re.compile(rb'(?:\[[^\]]*\]|[^\s(){"\[])+')
    _QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\.)*)"')
    _LITERAL = re.compile(rb"\{(\d+)\+?\}\r?\n")

    def __init__(self, line: bytes, start: int) -> None:
        self._line = line
        self._at = start

    def read(self) -> list[Value]:
        """Return all arguments up to the end of the line."""
        values: list[Value] = []
        while not self._line[self._at : self._at + 2].startswith((b"\r\n", b"\n")) and self._at < len(self._line):
            if self._line[self._at : self._at + 1] == b" ":
                self._at += 1
            else:
                values.append(self._value())
        return values

    def _value(self) -> Value:
        match self._line[self._at : self._at + 1]:
            case b"(":
                return self._list()
            case b'"':
                return re.sub(rb"\\(.)", rb"\1", self._take(self._QUOTED)[1])
            case b"{":
                return self._literal()
            case _:
                return Word(self._take(self._ATOM)[0])

    def _take(self, shape: re.Pattern[bytes]) -> re.Match[bytes]:
        found = shape.match(self._line, self._at)
        if found is None:
            raise BadSyntax(f"cannot read the argument at byte {self._at}")
        self._at = found.end()
        return found

    def _literal(self) -> bytes:
        size = int(self._take(self._LITERAL)[1])
        self._at += size
        return self._line[self._at - size : self._at]

    def _list(self) -> list[Value]:
        self._at += 1
        values: list[Value] = []
        while (char := self._line[self._at : self._at + 1]) != b")":
            if not char or char in b"\r\n":
                raise BadSyntax("a list is not closed")
            if char == b" ":
                self._at += 1
            else:
                values.append(self._value())
        self._at += 1
        return values


@dataclass(frozen=True, slots=True)
class NumberSet:
    """A set of message numbers or UIDs, such as `1:3,7,9:*`; None stands for `*`."""

    ranges: tuple[tuple[int | None, int | None], ...]

    @classmethod
    def parse(cls, value: Value) -> NumberSet:
        """Read a set. Raises BadSyntax."""
        text = atom(value)
        if not re.fullmatch(r"(\d+|\*)(:(\d+|\*))?(,(\d+|\*)(:(\d+|\*))?)*", text):
            raise BadSyntax("that is not a set of messages")
        ranges = []
        for piece in text.split(","):
            first, _, last = piece.partition(":")
            ranges.append((_number(first), _number(last or first)))
        return cls(tuple(ranges))

    def bounds(self, largest: int) -> list[tuple[int, int]]:
        """Return the ranges in numbers, each in rising order; `largest` is what `*` means."""
        pairs = ((largest if a is None else a, largest if b is None else b) for a, b in self.ranges)
        return [(min(pair), max(pair)) for pair in pairs]

    def pick(self, numbers: Sequence[int]) -> list[int]:
        """Return those of the rising `numbers` that are in the set, rising."""
        chosen: set[int] = set()
        for first, last in self.bounds(numbers[-1] if numbers else 0):
            chosen.update(numbers[bisect_left(numbers, first) : bisect_right(numbers, last)])
        return sorted(chosen)


def _number(text: str) -> int | None:
    return None if text == "*" else int(text)


def format_set(numbers: Iterable[int]) -> str:
    """Return numbers as a set, in the given order, runs joined: [1, 2, 3, 7] is `1:3,7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}:{b}" for a, b in runs)


def atom(value: Value) -> str:
    """Return an argument that is a plain word or string as text. Raises BadSyntax for a list."""
    if isinstance(value, list):
        raise BadSyntax("a list came where a word was expected")
    return value.decode("utf-8", "surrogateescape")


def words(value: Value) -> list[str]:
    """Return the upper-cased words of a list; a single word counts as a list of one."""
    return [atom(item).upper() for item in (value if isinstance(value, list) else [value])]


def quoted(text: bytes | None) -> bytes:
    """Return text as an answer holds it: NIL, a quoted string, or a literal where quoting cannot spell it."""
    if text is None:
        return b"NIL"
    if re.search(rb"[\r\n\x00\x80-\xff]", text) or len(text) > 1000:
        return b"{%d}\r\n%b" % (len(text), text)
    return b'"' + re.sub(rb'(["\\])', rb"\\\1", text) + b'"'


def parse_date_time(value: Value) -> datetime:
    """Read an INTERNALDATE such as `17-Jul-2026 02:44:25 -0700`. Raises BadSyntax."""
    text = atom(value).strip()
    found = re.fullmatch(r"(\d{1,2})-(\w{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", text)
    if found is None or found[2].title() not in _MONTHS:
        raise BadSyntax("that is not a date and time")
    offset = timedelta(hours=int(found[8]), minutes=int(found[9])) * (-1 if found[7] == "-" else 1)
    day, year, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 6))
    month = _MONTHS.index(found[2].title()) + 1
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
    except ValueError as error:
        raise BadSyntax("no such date") from error


def format_date_time(moment: datetime) -> bytes:
    """Return a moment as INTERNALDATE shows it, quoted, in UTC."""
    at = moment.astimezone(UTC)
    return f'"{at.day:2d}-{_MONTHS[at.month - 1]}-{at.year:04d} {at:%H:%M:%S} +0000"'.encode("ascii")


def parse_date(value: Value) -> tuple[int, int, int]:
    """Read a date of SEARCH such as `1-Feb-2026` as (year, month, day). Raises BadSyntax."""
    found = re.fullmatch(r"(\d{1,2})-(\w{3})-(\d{4})", atom(value))
    if found is None or found[2].title() not in _MONTHS:
        raise BadSyntax("that is not a date")
    return int(found[3]), _MONTHS.index(found[2].title()) + 1, int(found[1])
