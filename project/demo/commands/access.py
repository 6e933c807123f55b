"""Getting in and out: CAPABILITY, NOOP, LOGOUT, ID, STARTTLS, LOGIN, AUTHENTICATE PLAIN, ENABLE."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING

from project.demo.commands.table import ANSWERED, expect
from project.demo.store import Refused
from project.demo.wire import BadSyntax, Command, atom

if TYPE_CHECKING:
    from project.demo.session import Session


async def capability(session: Session, command: Command) -> str | None:
    """RFC 3501 6.1.1."""
    session.out.line(f"* CAPABILITY {session.capabilities()}")
    return None


async def noop(session: Session, command: Command) -> str | None:
    """Nothing but the news, which every command brings."""
    return None


async def logout(session: Session, command: Command) -> str | None:
    """RFC 3501 6.1.3."""
    session.leave_mailbox()
    session.out.line("* BYE Logging out")
    session.leaving = True
    return None


async def identify(session: Session, command: Command) -> str | None:
    """RFC 2971."""
    session.out.line('* ID ("name" "Mailmirror demo server")')
    return None


async def start_tls(session: Session, command: Command) -> str | None:
    """RFC 3501 6.2.1."""
    if not session.may_start_tls():
        raise BadSyntax("STARTTLS is not offered")
    context = session.host.starttls
    assert context is not None, "may_start_tls looked"
    session.out.line(f"{command.tag} OK Begin TLS negotiation now")
    await session.out.flush()
    await session.out.writer.start_tls(context)
    return ANSWERED


async def login(session: Session, command: Command) -> str | None:
    """RFC 3501 6.2.3."""
    expect(command.args, 2)
    _enter(session, atom(command.args[0]), atom(command.args[1]))
    return f"OK [CAPABILITY {session.capabilities()}] Logged in"


async def authenticate(session: Session, command: Command) -> str | None:
    """RFC 3501 6.2.2 with RFC 4616 (PLAIN) and RFC 4959 (the answer may come with the command)."""
    expect(command.args, 1, 2)
    if atom(command.args[0]).upper() != "PLAIN":
        raise Refused("[CANNOT] Only PLAIN is offered")
    if len(command.args) == 2:
        response = atom(command.args[1]).encode()
    else:
        session.out.add(b"+ \r\n")
        await session.out.flush()
        response = (await session.reader.readline()).strip()
    if response == b"*":
        raise BadSyntax("cancelled")
    try:
        _, user, password = base64.b64decode(response, validate=True).decode("utf-8").split("\0")
    except (ValueError, binascii.Error) as error:
        raise BadSyntax("not an answer of PLAIN") from error
    _enter(session, user, password)
    return f"OK [CAPABILITY {session.capabilities()}] Logged in"


def _enter(session: Session, user: str, password: str) -> None:
    if session.login_disabled():
        raise Refused("[PRIVACYREQUIRED] Log in over TLS")
    if session.over_limit:
        raise Refused("[LIMIT] Too many simultaneous connections")
    account = session.host.accounts.get(user)
    expected = account.password if account is not None else ""
    if account is None or not hmac.compare_digest(expected.encode(), password.encode("utf-8", "surrogateescape")):
        raise Refused("[AUTHENTICATIONFAILED] Wrong user name or password")
    session.account = account


async def enable(session: Session, command: Command) -> str | None:
    """RFC 5161; CONDSTORE is all there is to switch on."""
    names = {atom(value).upper() for value in command.args}
    switched = "CONDSTORE" in names and session.offers("CONDSTORE")
    session.condstore |= switched
    session.out.line("* ENABLED CONDSTORE" if switched else "* ENABLED")
    return None
