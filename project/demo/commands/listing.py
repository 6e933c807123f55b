"""LIST with its extensions, LSUB and STATUS (RFC 3501 6.3.8-10, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from project.demo.commands.table import expect, read_name
from project.demo.names import encode_name, name_matches
from project.demo.store import Mailbox, Refused
from project.demo.wire import BadSyntax, Command, Value, atom, quoted, words

if TYPE_CHECKING:
    from project.demo.session import Session

_STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ")


@dataclass(slots=True)
class _Wish:
    """What a LIST asks for."""

    patterns: list[str]
    only_subscribed: bool = False
    only_special: bool = False
    tell_subscribed: bool = False
    status: list[str] = field(default_factory=list)


async def list_(session: Session, command: Command) -> str | None:
    """Name the mailboxes that match."""
    wish = _read_wish(session, list(command.args))
    if wish.patterns == [""]:
        session.out.line(b'* LIST (\\Noselect) %b ""' % quoted(session.store.delimiter.encode()))
        return None
    for mailbox in _matching(session, wish):
        session.out.line(_list_line(session, mailbox, b"LIST", subscribed=wish.tell_subscribed))
        if wish.status and mailbox.selectable:
            _status_line(session, mailbox, wish.status)
        await session.out.relieve()
    return None


async def lsub(session: Session, command: Command) -> str | None:
    """Name the subscribed mailboxes that match."""
    expect(command.args, 2)
    wish = _Wish(_patterns(command.args[0], command.args[1]), only_subscribed=True)
    for mailbox in _matching(session, wish):
        session.out.line(_list_line(session, mailbox, b"LSUB", subscribed=False))
    return None


async def status(session: Session, command: Command) -> str | None:
    """Tell numbers of a mailbox without selecting it."""
    expect(command.args, 2)
    name = read_name(command.args[0])
    if name in session.host.script.faults.unselectable:
        raise Refused("[NOPERM] Permission denied")
    _status_line(session, session.store.mailbox(name), words(command.args[1]))
    return None


def _read_wish(session: Session, args: list[Value]) -> _Wish:
    extended = session.offers("LIST-EXTENDED")
    selection = words(args.pop(0)) if args and isinstance(args[0], list) else []
    if len(args) < 2 or (selection and not extended):
        raise BadSyntax("LIST wants a reference and a pattern")
    wish = _Wish(_patterns(args[0], args[1]))
    wish.only_subscribed = wish.tell_subscribed = "SUBSCRIBED" in selection
    wish.only_special = "SPECIAL-USE" in selection
    if len(args) == 2:
        return wish
    if len(args) != 4 or words(args[2]) != ["RETURN"] or not isinstance(args[3], list) or not extended:
        raise BadSyntax("LIST ends in RETURN (...)")
    _read_returns(session, list(args[3]), wish)
    return wish


def _read_returns(session: Session, options: list[Value], wish: _Wish) -> None:
    while options:
        option = atom(options.pop(0)).upper()
        if option == "STATUS" and options and session.offers("LIST-STATUS"):
            wish.status = words(options.pop(0))
            _check_items(session, wish.status)
        elif option == "SUBSCRIBED":
            wish.tell_subscribed = True
        elif option not in ("CHILDREN", "SPECIAL-USE"):
            raise BadSyntax(f"unknown RETURN option {option}")


def _patterns(reference: Value, pattern: Value) -> list[str]:
    patterns = pattern if isinstance(pattern, list) else [pattern]
    return [read_name(reference) + read_name(one) for one in patterns]


def _matching(session: Session, wish: _Wish) -> list[Mailbox]:
    faults = session.host.script.faults
    if faults.empty_list:
        return []
    store = session.store
    chosen = []
    for name in store.names():
        mailbox = store.get(name)
        if mailbox is None or name in faults.unlisted:
            continue
        if (wish.only_subscribed and not mailbox.subscribed) or (wish.only_special and not mailbox.role):
            continue
        if any(name_matches(name, pattern, store.delimiter) for pattern in wish.patterns):
            chosen.append(mailbox)
    return chosen


def _list_line(session: Session, mailbox: Mailbox, verb: bytes, *, subscribed: bool) -> bytes:
    attributes = ["\\HasChildren" if session.store.children(mailbox.name) else "\\HasNoChildren"]
    if not mailbox.selectable:
        attributes.append("\\Noselect")
    if subscribed and mailbox.subscribed:
        attributes.append("\\Subscribed")
    if mailbox.role is not None and session.offers("SPECIAL-USE"):
        attributes.append(mailbox.role)
    delimiter = quoted(session.store.delimiter.encode())
    return b"* %b (%b) %b %b" % (verb, " ".join(attributes).encode(), delimiter, quoted(encode_name(mailbox.name)))


def _check_items(session: Session, items: list[str]) -> None:
    known = set(_STATUS_ITEMS) - (set() if session.offers("CONDSTORE") else {"HIGHESTMODSEQ"})
    if not items or not known.issuperset(items):
        raise BadSyntax("unknown STATUS item")
    session.condstore |= "HIGHESTMODSEQ" in items


def _status_line(session: Session, mailbox: Mailbox, items: list[str]) -> None:
    _check_items(session, items)
    script = session.host.script
    if mailbox.name in script.faults.unselectable:
        return
    empty = script.seems_empty(mailbox.name, opened=False)
    messages = [] if empty else list(mailbox.messages.values())
    numbers = {
        "MESSAGES": len(messages),
        "RECENT": 0,
        "UIDNEXT": mailbox.uidnext,
        "UIDVALIDITY": mailbox.uidvalidity,
        "UNSEEN": sum("\\Seen" not in message.flags for message in messages),
        "HIGHESTMODSEQ": session.shown_modseq(mailbox.modseq),
    }
    told = " ".join(f"{item} {numbers[item]}" for item in items if item not in script.faults.omit)
    session.out.line(b"* STATUS %b (%b)" % (quoted(encode_name(mailbox.name)), told.encode()))
