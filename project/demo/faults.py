"""Misbehaviour on order: what a test can make the server do wrong.

`DemoServer.faults = Faults(...)` takes effect at once, for connections that are open too, and starts all counts anew;
`DemoServer.faults = Faults()` makes the server behave again. What is not here is done to the mail directly:
`DemoServer.lower_modseq`, `.bump_uidvalidity`, `.expunge`, `.kick`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Deed = Literal["hang", "cut", "bye", "say", "raw"]


@dataclass(frozen=True, slots=True)
class Trip:
    """One thing that goes wrong at a command."""

    #: `FETCH`, `UID FETCH`, `IDLE`; `*` for any. The bare name stands for its UID form too.
    command: str
    deed: Deed
    #: What is said: the text of BYE, a tagged answer without its tag, or raw bytes.
    text: str = ""
    #: Commands of that name that go well before it.
    skip: int = 0
    #: How often it happens; None: always.
    times: int | None = None
    #: Only where the command holds this text (in its wire spelling), such as the name of a mailbox.
    only: str = ""

    def concerns(self, full_name: str, line: bytes) -> bool:
        """Tell whether a command is meant."""
        named = self.command in ("*", full_name) or full_name == f"UID {self.command}"
        return named and self.only.encode() in line


def hang(command: str, *, skip: int = 0, times: int | None = None, only: str = "") -> Trip:
    """Never answer the command; the connection stays open."""
    return Trip(command, "hang", skip=skip, times=times, only=only)


def cut(command: str, *, skip: int = 0, times: int | None = None, only: str = "") -> Trip:
    """Close the connection instead of answering, without a word."""
    return Trip(command, "cut", skip=skip, times=times, only=only)


def bye(command: str, text: str = "Go away", *, skip: int = 0, times: int | None = None, only: str = "") -> Trip:
    """Say `* BYE text` instead of answering, and close."""
    return Trip(command, "bye", text, skip, times, only)


def say(command: str, answer: str, *, skip: int = 0, times: int | None = None, only: str = "") -> Trip:
    """Do nothing and answer so, for example `NO [THROTTLED] Slow down`, `NO [UNAVAILABLE] ...`, `BAD ...`."""
    return Trip(command, "say", answer, skip, times, only)


def garble(command: str, text: str = "@@ \x00 ))((\r\n", *, skip: int = 0, times: int | None = None) -> Trip:
    """Send `text` as it stands before doing the command properly."""
    return Trip(command, "raw", text, skip, times)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong. Everything off by default."""

    #: Accept connections and say nothing, for ever.
    hang_after_accept: bool = False
    #: Sent instead of our greeting; then we go on as if it were right.
    greeting: bytes | None = None
    #: Connections beyond so many are refused ...
    max_connections: int | None = None
    #: ... in the greeting (BYE), or only once they log in (NO [LIMIT]).
    refuse_at: Literal["greeting", "login"] = "greeting"
    #: Capabilities that are neither offered nor understood, such as CONDSTORE, UIDPLUS, MOVE, IDLE, SPECIAL-USE.
    hide: frozenset[str] = frozenset()
    #: Say OK to the login, then close.
    drop_after_login: bool = False
    #: Close a connection after so many bytes of answers, in the middle of a line.
    cut_after_bytes: int | None = None
    #: Seconds before each answer, as on a long line.
    answer_delay: float = 0.0
    #: Send answers in packets of so many bytes ...
    packet_size: int | None = None
    #: ... with so many seconds between them.
    packet_pause: float = 0.0
    #: Things that go wrong at commands; the first that concerns a command and is not spent happens.
    trips: tuple[Trip, ...] = ()
    #: Added to the size that each literal of a FETCH answer announces.
    literal_size_error: int = 0
    #: Left out of SELECT and STATUS: UIDNEXT, UIDVALIDITY, FLAGS, PERMANENTFLAGS, HIGHESTMODSEQ, EXISTS, UNSEEN ...
    omit: frozenset[str] = frozenset()
    #: Left out of FETCH answers: FLAGS, INTERNALDATE, RFC822.SIZE, UID, MODSEQ, BODY[], ...
    omit_fetched: frozenset[str] = frozenset()
    #: Each item of a FETCH answer comes in an answer of its own, beside the UID (RFC 3501 allows it).
    split_fetched: bool = False
    #: Each answer of a selected session is preceded by FETCH data nobody asked for.
    unsolicited_fetch: bool = False
    #: LIST says OK and names nothing.
    empty_list: bool = False
    #: Mailboxes that LIST leaves out.
    unlisted: frozenset[str] = frozenset()
    #: Mailboxes that are listed but refuse SELECT, EXAMINE and STATUS.
    unselectable: frozenset[str] = frozenset()
    #: mailbox -> how many times it is opened and looks empty; STATUS says so too until then.
    seems_empty: Mapping[str, int] = field(default_factory=dict)
    #: Subtracted from every HIGHESTMODSEQ we tell.
    modseq_falls_by: int = 0
    #: UIDs whose text cannot be read: FETCH leaves them out and ends in NO [SERVERBUG].
    unreadable: frozenset[int] = frozenset()


class Script:
    """Faults together with the counts of what has happened so far."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._met: Counter[int] = Counter()
        self._emptied: Counter[str] = Counter()

    def trip(self, full_name: str, line: bytes) -> Trip | None:
        """Return what goes wrong at this command, and count it."""
        for at, trip in enumerate(self.faults.trips):
            if not trip.concerns(full_name, line):
                continue
            self._met[at] += 1
            turn = self._met[at] - trip.skip
            if turn > 0 and (trip.times is None or turn <= trip.times):
                return trip
        return None

    def seems_empty(self, name: str, *, opened: bool) -> bool:
        """Tell whether a mailbox must look empty now; `opened` uses one time up."""
        if self._emptied[name] >= self.faults.seems_empty.get(name, 0):
            return False
        self._emptied[name] += opened
        return True
