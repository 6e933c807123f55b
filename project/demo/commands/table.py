"""What a command is to the session: a function, and when it may be called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from project.demo.names import decode_name
from project.demo.wire import BadSyntax, Command, Value, atom

if TYPE_CHECKING:
    from project.demo.session import Session


class States(Enum):
    """RFC 3501 3."""

    GREETED = 1
    LOGGED_IN = 2
    SELECTED = 3


ANY = frozenset(States)
UNKNOWN = frozenset({States.GREETED})
LOGGED_IN = frozenset({States.LOGGED_IN, States.SELECTED})
SELECTED = frozenset({States.SELECTED})

#: Does a command; returns its tagged answer without the tag, None for `OK ... completed`, or ANSWERED.
#: Raises Refused (NO) and BadSyntax (BAD).
Run = Callable[["Session", Command], Awaitable[str | None]]

#: The command has sent its tagged answer itself.
ANSWERED = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command."""

    run: Run
    states: frozenset[States]
    #: Unknown where this capability is hidden; None: always there.
    capability: str | None = None


def expect(args: list[Value], least: int, most: int | None = None) -> None:
    """Raise BadSyntax unless there are between `least` and `most` (default: `least`) arguments."""
    if not least <= len(args) <= (least if most is None else most):
        raise BadSyntax("wrong number of arguments")


def read_name(value: Value) -> str:
    """Return the mailbox name that an argument spells. Raises BadSyntax."""
    try:
        return decode_name(atom(value).encode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise BadSyntax("that is not a mailbox name") from error
