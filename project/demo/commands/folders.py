"""Commands about mailboxes: listing, status, making, renaming, selecting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from project.demo.commands.table import expect, read_name
from project.demo.store import Mailbox, Refused
from project.demo.view import View
from project.demo.wire import BadSyntax, Command, Value, quoted, words

if TYPE_CHECKING:
    from project.demo.session import Session

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")


async def namespace(session: Session, command: Command) -> str | None:
    """RFC 2342: one personal namespace without a prefix."""
    session.out.line(b'* NAMESPACE (("" %b)) NIL NIL' % quoted(session.store.delimiter.encode()))
    return None


async def create(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.3."""
    expect(command.args, 1, 2)
    session.store.create(read_name(command.args[0]))
    return None


async def delete(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.4."""
    expect(command.args, 1)
    session.store.delete(read_name(command.args[0]))
    return None


async def rename(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.5."""
    expect(command.args, 2)
    session.store.rename(read_name(command.args[0]), read_name(command.args[1]))
    return None


async def subscribe(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.6."""
    expect(command.args, 1)
    session.store.mailbox(read_name(command.args[0])).subscribed = True
    return None


async def unsubscribe(session: Session, command: Command) -> str | None:
    """RFC 3501 6.3.7."""
    expect(command.args, 1)
    session.store.mailbox(read_name(command.args[0])).subscribed = False
    return None


async def select(session: Session, command: Command) -> str | None:
    """SELECT and EXAMINE (RFC 3501 6.3.1, 6.3.2; RFC 7162 3.1.8)."""
    expect(command.args, 1, 2)
    session.leave_mailbox()
    name = read_name(command.args[0])
    if len(command.args) == 2:
        _parameters(session, command.args[1])
    if name in session.host.script.faults.unselectable:
        raise Refused("[NOPERM] Permission denied")
    mailbox = session.store.mailbox(name)
    empty = session.host.script.seems_empty(mailbox.name, opened=True)
    writable = command.name == "SELECT"
    session.enter_mailbox(View(mailbox, writable=writable, empty=empty))
    _describe(session, mailbox)
    return f"OK [{'READ-WRITE' if writable else 'READ-ONLY'}] {command.name} completed"


def _parameters(session: Session, value: Value) -> None:
    if not session.offers("CONDSTORE") or words(value) != ["CONDSTORE"]:
        raise BadSyntax("unknown parameter of SELECT")
    session.condstore = True


def _describe(session: Session, mailbox: Mailbox) -> None:
    """Add the untagged answers of SELECT, but those that the test leaves out."""
    keywords = {flag for message in mailbox.messages.values() for flag in message.flags if not flag.startswith("\\")}
    flags = " ".join([*SYSTEM_FLAGS, *sorted(keywords)])
    view = session.selected
    permanent = f"{flags} \\*" if view.writable else ""
    unseen = next((at for at, uid in enumerate(view.uids, 1) if "\\Seen" not in mailbox.messages[uid].flags), None)
    lines = {
        "FLAGS": f"* FLAGS ({flags})",
        "PERMANENTFLAGS": f"* OK [PERMANENTFLAGS ({permanent})] Flags kept",
        "EXISTS": f"* {len(view.uids)} EXISTS",
        "RECENT": "* 0 RECENT",
        "UIDVALIDITY": f"* OK [UIDVALIDITY {mailbox.uidvalidity}] UIDs valid",
        "UIDNEXT": f"* OK [UIDNEXT {mailbox.uidnext}] Predicted next UID",
    }
    if unseen is not None:
        lines["UNSEEN"] = f"* OK [UNSEEN {unseen}] First unseen"
    if session.offers("CONDSTORE"):
        lines["HIGHESTMODSEQ"] = f"* OK [HIGHESTMODSEQ {session.shown_modseq(mailbox.modseq)}] Highest"
    for name, line in lines.items():
        if name not in session.host.script.faults.omit:
            session.out.line(line)


async def unselect(session: Session, command: Command) -> str | None:
    """RFC 3691."""
    session.leave_mailbox()
    return None


async def close(session: Session, command: Command) -> str | None:
    """RFC 3501 6.4.2: what is \\Deleted goes without a word."""
    view = session.selected
    session.leave_mailbox()
    if view.writable:
        messages = view.mailbox.messages.values()
        view.mailbox.expunge([message.uid for message in messages if "\\Deleted" in message.flags])
    return None
