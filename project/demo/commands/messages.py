"""Commands about messages: APPEND, FETCH, STORE, COPY, MOVE, EXPUNGE, SEARCH."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from project.demo.commands.table import expect, read_name
from project.demo.fetch import Item, answer, parse_items
from project.demo.search import Candidate, format_answer, parse_search
from project.demo.store import Mailbox, Message, Refused
from project.demo.wire import BadSyntax, Command, NumberSet, Value, Word, atom, format_set, parse_date_time

if TYPE_CHECKING:
    from project.demo.session import Session


async def append(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.11, RFC 4315 3."""
    expect(command.args, 2, 4)
    target, raw, middle = command.args[0], command.args[-1], command.args[1:-1]
    if not isinstance(raw, bytes):
        raise BadSyntax("APPEND wants a literal")
    flags: frozenset[str] = frozenset()
    received: datetime | None = None
    for value in middle:
        if isinstance(value, list):
            flags = _flags(value)
        else:
            received = parse_date_time(value)
    mailbox = _target(session, target)
    message = mailbox.append(bytes(raw), flags, received)
    return f"OK {_code(session, f'APPENDUID {mailbox.uidvalidity} {message.uid}')}APPEND completed"


def _target(session: Session, value: Value) -> Mailbox:
    name = read_name(value)
    try:
        return session.store.mailbox(name)
    except Refused as error:
        raise Refused(f"[TRYCREATE] No such mailbox: {name!a}") from error


def _code(session: Session, code: str) -> str:
    return f"[{code}] " if session.offers("UIDPLUS") else ""


def _flags(value: Value) -> frozenset[str]:
    names = [atom(item) for item in (value if isinstance(value, list) else [value])]
    system = {flag.lower(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}
    if any(name.startswith("\\") and name.lower() not in system for name in names):
        raise BadSyntax("unknown system flag")
    return frozenset(system.get(name.lower(), name) for name in names)


def _chosen(session: Session, command: Command, value: Value) -> list[Message]:
    """Return the messages a set names, those that are gone left out. Raises BadSyntax for a number beyond the last."""
    view = session.selected
    wanted = NumberSet.parse(value)
    if command.by_uid:
        uids = wanted.pick(view.uids)
    else:
        if any(last > len(view.uids) or first < 1 for first, last in wanted.bounds(len(view.uids))):
            raise BadSyntax("no message of that number")
        uids = [view.uids[number - 1] for number in wanted.pick(range(1, len(view.uids) + 1))]
    return [message for uid in uids if (message := view.message(uid)) is not None]


async def fetch(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.5; CHANGEDSINCE of RFC 7162 3.1.4.1."""
    expect(command.args, 2, 3)
    items = parse_items(command.args[1])
    messages = _chosen(session, command, command.args[0])
    if len(command.args) == 3:
        since = _modifier(session, command.args[2], "CHANGEDSINCE")
        messages = [message for message in messages if session.shown_modseq(message.modseq) > since]
        items.append(Item("MODSEQ"))
    unreadable = False
    for message in messages:
        if message.uid in session.host.script.faults.unreadable and any(item.kind is not None for item in items):
            unreadable = True
            continue
        _fetch_one(session, command, message, items)
        await session.out.relieve()
    if unreadable:
        raise Refused("[SERVERBUG] Some messages cannot be read")
    return None


def _fetch_one(session: Session, command: Command, message: Message, wanted: Sequence[Item]) -> None:
    items = list(wanted)
    view, faults = session.selected, session.host.script.faults
    if any(item.label == "MODSEQ" for item in items):
        session.condstore = True
    if view.writable and any(not item.peek for item in items) and "\\Seen" not in message.flags:
        view.mailbox.set_flags(message.uid, message.flags | {"\\Seen"})
        items += [Item("FLAGS"), *([Item("MODSEQ")] if session.condstore else [])]
    if any(item.label == "FLAGS" for item in items):
        view.know(message)
    if command.by_uid:
        items.insert(0, Item("UID"))
    shown = [item for item in dict.fromkeys(items) if item.label not in faults.omit_fetched]
    lowered = Message(message.uid, message.raw, message.flags, message.received, session.shown_modseq(message.modseq))
    for told in _split(shown) if faults.split_fetched else [shown]:
        data = answer(lowered, told, size_error=faults.literal_size_error)
        session.out.line(b"* %d FETCH (%b)" % (view.number(message.uid), data))


def _split(items: Sequence[Item]) -> list[list[Item]]:
    """Put each item beside the UID into an answer of its own, the last asked first."""
    uid = [item for item in items if item.label == "UID"]
    return [[*uid, item] for item in reversed(items) if item.label != "UID"] or [uid]


def _modifier(session: Session, value: Value, name: str) -> int:
    """Return the number of a CONDSTORE modifier. Raises BadSyntax."""
    if not session.offers("CONDSTORE") or not isinstance(value, list) or len(value) != 2:
        raise BadSyntax("unknown modifier")
    if atom(value[0]).upper() != name or not atom(value[1]).isdigit():
        raise BadSyntax(f"{name} wants a number")
    session.condstore = True
    return int(atom(value[1]))


@dataclass(frozen=True, slots=True)
class _Change:
    """What a STORE does to the flags of a message."""

    sign: str
    flags: frozenset[str]

    def applied(self, before: frozenset[str]) -> frozenset[str]:
        match self.sign:
            case "+":
                return before | self.flags
            case "-":
                return before - self.flags
        return self.flags


async def store(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.6; UNCHANGEDSINCE of RFC 7162 3.1.3."""
    args = list(command.args)
    limit = _modifier(session, args.pop(1), "UNCHANGEDSINCE") if len(args) > 1 and isinstance(args[1], list) else None
    if len(args) < 3:
        raise BadSyntax("STORE wants messages, a change and flags")
    verb = atom(args[1]).upper()
    if verb.lstrip("+-").removesuffix(".SILENT") != "FLAGS":
        raise BadSyntax("STORE changes FLAGS")
    change = _Change(verb[0] if verb[0] in "+-" else "", _flags(args[2] if isinstance(args[2], list) else args[2:]))
    if not session.selected.writable:
        raise Refused("[READ-ONLY] The mailbox is open for reading only")
    modified = []
    for message in _chosen(session, command, args[0]):
        if limit is not None and message.modseq > limit:
            modified.append(message.uid)
        else:
            _store_one(session, command, message, change, silent=verb.endswith(".SILENT"))
    if not modified:
        return None
    view = session.selected
    told = format_set(modified if command.by_uid else [view.number(uid) for uid in modified])
    return f"OK [MODIFIED {told}] Some messages had changed"


def _store_one(session: Session, command: Command, message: Message, change: _Change, *, silent: bool) -> None:
    view = session.selected
    view.mailbox.set_flags(message.uid, change.applied(message.flags))
    view.know(message)
    if not silent or session.condstore:
        session.tell_flags(message, with_uid=command.by_uid, flags=not silent)


async def copy(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.7, RFC 4315 3."""
    expect(command.args, 2)
    messages = _chosen(session, command, command.args[0])
    code = _copy_code(session, messages, _target(session, command.args[1]))
    return f"OK {code}COPY completed"


def _copy_code(session: Session, messages: Sequence[Message], target: Mailbox) -> str:
    uids = [message.uid for message in messages]
    copies = session.store.copy(session.selected.mailbox, uids, target)
    if not uids:
        return ""
    return _code(session, f"COPYUID {target.uidvalidity} {format_set(uids)} {format_set(copies)}")


async def move(session: Session, command: Command) -> str | None:
    """RFC 6851."""
    expect(command.args, 2)
    view = session.selected
    if not view.writable:
        raise Refused("[READ-ONLY] The mailbox is open for reading only")
    messages = _chosen(session, command, command.args[0])
    code = _copy_code(session, messages, _target(session, command.args[1]))
    if code:
        session.out.line(f"* OK {code}Moved")
    view.mailbox.expunge([message.uid for message in messages])
    return None


async def expunge(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.3; UID EXPUNGE of RFC 4315 2.1."""
    expect(command.args, 1 if command.by_uid else 0)
    view = session.selected
    if not view.writable:
        raise Refused("[READ-ONLY] The mailbox is open for reading only")
    uids = NumberSet.parse(command.args[0]).pick(view.uids) if command.by_uid else view.uids
    messages = [message for uid in uids if (message := view.message(uid)) is not None]
    view.mailbox.expunge([message.uid for message in messages if "\\Deleted" in message.flags])
    return None


async def search(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.4, RFC 4731."""
    args = list(command.args)
    if args and isinstance(args[0], Word) and args[0].upper() == b"RETURN" and not session.offers("ESEARCH"):
        raise BadSyntax("unknown search key RETURN")
    program = parse_search(args)
    view = session.selected
    found = []
    for number, uid in enumerate(view.uids, 1):
        message = view.message(uid)
        if message is not None and program.test(Candidate(message, number, len(view.uids), view.uids[-1])):
            found.append((number, message))
    session.condstore |= program.with_modseq
    highest = session.shown_modseq(max((message.modseq for _, message in found), default=0))
    numbers = [message.uid if command.by_uid else number for number, message in found]
    session.out.line(format_answer(program, numbers, tag=command.tag, by_uid=command.by_uid, modseq=highest))
    return None
