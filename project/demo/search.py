"""SEARCH: its keys as tests over one message (RFC 3501 6.4.4), and the forms of its answer (RFC 4731)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from email.utils import parsedate_to_datetime

from project.demo.store import Message, Refused
from project.demo.structure import header_text, parsed
from project.demo.wire import BadSyntax, NumberSet, Value, Word, atom, format_set, parse_date, words


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message under test, with what sets of numbers are compared with."""

    message: Message
    number: int
    largest_number: int
    largest_uid: int


Test = Callable[[Candidate], bool]

_FLAGS = {name.upper(): f"\\{name}" for name in ("Answered", "Deleted", "Draft", "Flagged", "Seen")}
_CHARSETS = {"UTF-8", "US-ASCII"}


@dataclass(slots=True)
class Program:
    """A parsed SEARCH."""

    test: Test
    #: What RETURN (...) asks for; None: the old form of answer.
    wanted: list[str] | None
    #: MODSEQ was among the keys: the answer tells the highest.
    with_modseq: bool


def parse_search(args: Sequence[Value]) -> Program:
    """Read the arguments of SEARCH. Raises BadSyntax, or Refused for a charset we do not know."""
    rest = list(args)
    wanted = None
    if rest and _is(rest[0], "RETURN"):
        if len(rest) < 2 or not isinstance(rest[1], list):
            raise BadSyntax("RETURN wants a list")
        wanted = words(rest[1]) or ["ALL"]
        del rest[:2]
    if len(rest) > 1 and _is(rest[0], "CHARSET"):
        if atom(rest[1]).upper() not in _CHARSETS:
            raise Refused("[BADCHARSET (UTF-8 US-ASCII)] Unknown charset")
        del rest[:2]
    if not rest:
        raise BadSyntax("SEARCH wants a key")
    reading = _Keys(rest)
    return Program(reading.all_of(), wanted, reading.with_modseq)


def _is(value: Value, word: str) -> bool:
    return isinstance(value, Word) and value.upper() == word.encode()


class _Keys:
    """Reads search keys, each with its arguments, from a list."""

    def __init__(self, values: list[Value]) -> None:
        self._values = values
        self.with_modseq = False

    def all_of(self) -> Test:
        """Read everything that is left: a message has to pass each test."""
        tests = []
        while self._values:
            tests.append(self.key())
        return lambda candidate: all(test(candidate) for test in tests)

    def _next(self) -> Value:
        if not self._values:
            raise BadSyntax("a search key lacks its argument")
        return self._values.pop(0)

    def key(self) -> Test:
        """Read one key."""
        value = self._next()
        if isinstance(value, list):
            inner = _Keys(list(value))
            test = inner.all_of()
            self.with_modseq |= inner.with_modseq
            return test
        name = atom(value).upper()
        if name[:1].isdigit() or name.startswith("*"):
            return _numbered(NumberSet.parse(value))
        for read in (self._flag_key, self._text_key, self._date_key, self._other_key):
            found = read(name)
            if found is not None:
                return found
        raise BadSyntax(f"unknown search key {name}")

    def _flag_key(self, name: str) -> Test | None:
        if name in _FLAGS:
            return _flagged(_FLAGS[name], has=True)
        if name.startswith("UN") and name[2:] in _FLAGS:
            return _flagged(_FLAGS[name[2:]], has=False)
        if name in ("KEYWORD", "UNKEYWORD"):
            return _flagged(atom(self._next()), has=name == "KEYWORD")
        # Nothing is ever \Recent here: RFC 9051 did away with it.
        return {"ALL": lambda _: True, "OLD": lambda _: True, "NEW": lambda _: False, "RECENT": lambda _: False}.get(
            name
        )

    def _text_key(self, name: str) -> Test | None:
        if name in ("FROM", "TO", "CC", "BCC", "SUBJECT"):
            return _in_header(name, atom(self._next()))
        if name == "HEADER":
            return _in_header(atom(self._next()), atom(self._next()))
        if name in ("BODY", "TEXT"):
            return _in_text(atom(self._next()), headers=name == "TEXT")
        return None

    def _date_key(self, name: str) -> Test | None:
        if name.removeprefix("SENT") not in ("BEFORE", "ON", "SINCE"):
            return None
        day = date(*parse_date(self._next()))
        read = _sent_day if name.startswith("SENT") else _received_day
        return _on_day(read, name.removeprefix("SENT"), day)

    def _other_key(self, name: str) -> Test | None:
        match name:
            case "NOT":
                denied = self.key()
                return lambda candidate: not denied(candidate)
            case "OR":
                one, other = self.key(), self.key()
                return lambda candidate: one(candidate) or other(candidate)
            case "UID":
                numbers = NumberSet.parse(self._next())
                return lambda candidate: _within(numbers, candidate.message.uid, candidate.largest_uid)
            case "LARGER" | "SMALLER":
                return _sized(_whole(self._next()), larger=name == "LARGER")
            case "MODSEQ":
                return self._modseq()
        return None

    def _modseq(self) -> Test:
        self.with_modseq = True
        value = self._next()
        # RFC 7162 3.1.5 lets a metadata name and type come before the number.
        if not isinstance(value, list) and not atom(value).isdigit():
            self._next()
            value = self._next()
        least = _whole(value)
        return lambda candidate: candidate.message.modseq >= least


def _whole(value: Value) -> int:
    if not atom(value).isdigit():
        raise BadSyntax("a number is missing")
    return int(atom(value))


def _within(numbers: NumberSet, number: int, largest: int) -> bool:
    return any(first <= number <= last for first, last in numbers.bounds(largest))


def _numbered(numbers: NumberSet) -> Test:
    return lambda candidate: _within(numbers, candidate.number, candidate.largest_number)


def _flagged(flag: str, *, has: bool) -> Test:
    wanted = flag.lower()
    return lambda candidate: (wanted in {name.lower() for name in candidate.message.flags}) is has


def _sized(limit: int, *, larger: bool) -> Test:
    return lambda candidate: len(candidate.message.raw) > limit if larger else len(candidate.message.raw) < limit


def _in_header(name: str, text: str) -> Test:
    def test(candidate: Candidate) -> bool:
        headers = parsed(candidate.message.raw).headers
        if not text:
            return name in headers
        return text.lower() in header_text(headers, name).lower()

    return test


def _in_text(text: str, *, headers: bool) -> Test:
    def test(candidate: Candidate) -> bool:
        whole = parsed(candidate.message.raw)
        if headers and any(text.lower() in header_text(whole.headers, name).lower() for name in whole.headers):
            return True
        return any(
            text.lower() in part.text().lower() for part in whole.walk() if part.content_type.startswith("text/")
        )

    return test


def _received_day(message: Message) -> date | None:
    return message.received.astimezone(UTC).date()


def _sent_day(message: Message) -> date | None:
    try:
        return parsedate_to_datetime(str(parsed(message.raw).headers.get("date"))).date()
    except ValueError:
        return None


def _on_day(read: Callable[[Message], date | None], how: str, day: date) -> Test:
    def test(candidate: Candidate) -> bool:
        found = read(candidate.message)
        if found is None:
            return False
        return {"BEFORE": found < day, "ON": found == day, "SINCE": found >= day}[how]

    return test


def format_answer(program: Program, found: Sequence[int], *, tag: str, by_uid: bool, modseq: int) -> str:
    """Return the untagged answer for the numbers or UIDs found, in the form the client asked for."""
    with_modseq = bool(program.with_modseq and found)
    if program.wanted is None:
        told = "".join(f" {number}" for number in found)
        return f"* SEARCH{told}" + (f" (MODSEQ {modseq})" if with_modseq else "")
    data = {"COUNT": str(len(found))}
    if found:
        data |= {"MIN": str(found[0]), "MAX": str(found[-1]), "ALL": format_set(found)}
    told = "".join(f" {name} {data[name]}" for name in program.wanted if name in data)
    uid, highest = " UID" if by_uid else "", f" MODSEQ {modseq}" if with_modseq else ""
    return f'* ESEARCH (TAG "{tag}"){uid}{told}{highest}'
