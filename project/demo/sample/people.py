"""The people of the sample mailbox, the clock they live by, and choices that come out the same every time."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from project.demo.sample.compose import Letter, Person, digest

_T = TypeVar("_T")

CONTENT = Path(__file__).parent / "content"


@dataclass(frozen=True, slots=True)
class SampleMessage:
    """A mail and where it lies."""

    folder: str
    raw: bytes
    flags: frozenset[str]
    #: When the server got it, UTC.
    received: datetime


@cache
def content(name: str) -> dict[str, Any]:
    """Return a file of the content folder, read once."""
    return tomllib.loads((CONTENT / f"{name}.toml").read_text("utf-8"))


def person(key: str) -> Person:
    """Return one of the people by the key of people.toml."""
    name, address, offset = content("people")[key]
    return Person(name, address, offset)


def people(keys: Iterable[str]) -> list[Person]:
    """Return several people."""
    return [person(key) for key in keys]


OWNER = person("robin")


def number(key: str, limit: int) -> int:
    """Return a number below `limit` that depends on `key` alone."""
    return int(digest(key)[:8], 16) % limit


def choose(key: str, options: Sequence[_T]) -> _T:
    """Return one of the options, always the same for a key."""
    return options[number(key, len(options))]


def moment(now: datetime, days_ago: float, at: str | None = None) -> datetime:
    """Return the moment so many days before `now`, at an hour such as 09:30 (UTC) where that is past; whole seconds."""
    when = (now - timedelta(days=days_ago)).astimezone(UTC).replace(microsecond=0)
    if at is not None:
        hour, minute = map(int, at.split(":"))
        fixed = when.replace(hour=hour, minute=minute, second=number(at + str(days_ago), 60))
        when = fixed if fixed < now else fixed - timedelta(days=1)
    return when


def local(when: datetime, writer: Person) -> datetime:
    """Return a moment on the writer's clock."""
    return when.astimezone(timezone(timedelta(minutes=writer.offset)))


def post(
    letter: Letter, folder: str, now: datetime, flags: Iterable[str] = (), *, read_after: float = 2.5
) -> SampleMessage:
    """Return a letter as it lies in a folder: seconds under way, read when it is older than `read_after` days."""
    received = letter.sent.astimezone(UTC) + timedelta(seconds=1 + number(letter.key + "way", 7))
    seen = {"\\Seen"} if now - received > timedelta(days=read_after) or letter.sender == OWNER else set()
    return SampleMessage(folder, letter.raw(), frozenset(seen | set(flags)), received)
