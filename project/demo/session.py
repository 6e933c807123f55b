"""One client's connection: reads commands, has them done, tells the news of the selected mailbox."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from project.demo.commands import COMMANDS
from project.demo.commands.table import ANSWERED, States
from project.demo.faults import Trip
from project.demo.fetch import format_flags
from project.demo.outlet import ConnectionCut, Outlet
from project.demo.store import Message, Refused, Store
from project.demo.view import View
from project.demo.wire import BadSyntax, Command, TooLarge, parse_command, read_command

if TYPE_CHECKING:
    from project.demo.serving import Host

log = logging.getLogger(__name__)

CAPABILITIES = (
    *("IMAP4rev1", "LITERAL+", "ENABLE", "ID", "IDLE", "NAMESPACE", "UNSELECT", "UIDPLUS", "MOVE", "CHILDREN"),
    *("CONDSTORE", "ESEARCH", "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS"),
)


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who can log in."""

    name: str
    password: str
    store: Store


class Session:
    """The state of one connection."""

    def __init__(self, host: Host, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host = host
        self.reader = reader
        self.out = Outlet(writer, lambda: host.script.faults)
        self.account: Account | None = None
        self.view: View | None = None
        self.condstore = False
        self.over_limit = False
        self.leaving = False
        #: Set whenever the selected mailbox changes.
        self.stirred = asyncio.Event()

    # What is offered

    def offers(self, capability: str) -> bool:
        """Tell whether a capability is there and not hidden."""
        return capability in CAPABILITIES and capability not in self.host.script.faults.hide

    def capabilities(self) -> str:
        """Return the capabilities of the moment, separated by spaces."""
        names = [name for name in CAPABILITIES if self.offers(name)]
        if self.account is None:
            names += ["STARTTLS"] if self.may_start_tls() else []
            names += ["LOGINDISABLED"] if self.login_disabled() else ["AUTH=PLAIN", "SASL-IR"]
        return " ".join(names)

    def encrypted(self) -> bool:
        """True once TLS is on."""
        return self.out.writer.get_extra_info("ssl_object") is not None

    def may_start_tls(self) -> bool:
        """True when STARTTLS is offered now."""
        return self.host.starttls is not None and not self.encrypted()

    def login_disabled(self) -> bool:
        """True while a password would go in the clear although TLS is there."""
        return self.host.require_tls and not self.encrypted()

    @property
    def store(self) -> Store:
        """The mailboxes of whoever is logged in."""
        assert self.account is not None, "commands that need a login are refused before"
        return self.account.store

    @property
    def selected(self) -> View:
        """The selected mailbox."""
        assert self.view is not None, "commands that need a mailbox are refused before"
        return self.view

    # The life of a connection

    async def run(self) -> None:
        """Serve the client until either side ends it."""
        try:
            await self._greet()
            while not self.leaving:
                line = await read_command(self.reader, self._go_on)
                if not line:
                    return
                await self._serve(line)
        except TooLarge as error:
            await self._last_word(f"* BYE [TOOBIG] Too large: {error}")
        except (ConnectionCut, ConnectionError, asyncio.IncompleteReadError):
            log.debug("connection cut")
        finally:
            self.leave_mailbox()

    async def _greet(self) -> None:
        faults = self.host.script.faults
        if faults.hang_after_accept:
            await self.hang()
        if faults.max_connections is not None and self.host.connections > faults.max_connections:
            self.over_limit = True
            if faults.refuse_at == "greeting":
                self.out.line("* BYE [LIMIT] Too many connections")
                await self.out.flush()
                raise ConnectionCut
        if faults.greeting is not None:
            self.out.add(faults.greeting)
        else:
            self.out.line(f"* OK [CAPABILITY {self.capabilities()}] Mailmirror demo server ready")
        await self.out.flush()

    async def hang(self) -> None:
        """Say nothing more, and end when the client does."""
        while await self.reader.read(1 << 16):
            pass
        raise ConnectionCut

    async def _last_word(self, text: str) -> None:
        try:
            self.out.line(text)
            await self.out.flush()
        except (ConnectionCut, ConnectionError):
            log.debug("the client did not hear: %s", text)

    async def _go_on(self) -> None:
        self.out.line("+ OK")
        await self.out.flush()

    async def _serve(self, line: bytes) -> None:
        try:
            command = parse_command(line)
        except BadSyntax as error:
            tag = error.args[1] if len(error.args) > 1 else "*"
            self.out.line(f"{tag} BAD Syntax: {error.args[0]}")
            await self.out.flush()
            return
        self.host.note(command, line)
        trip = self.host.script.trip(command.full_name, line)
        if trip is not None and await self._stumble(command, trip):
            return
        await self._answer(command)

    async def _stumble(self, command: Command, trip: Trip) -> bool:
        """Do what the test ordered; True when the command is done with."""
        match trip.deed:
            case "hang":
                await self.hang()
            case "cut":
                raise ConnectionCut
            case "bye":
                await self._last_word(f"* BYE {trip.text}")
                raise ConnectionCut
            case "raw":
                self.out.add(trip.text.encode("utf-8"))
                return False
            case "say":
                self.out.line(f"{command.tag} {trip.text}")
                await self.out.flush()
        return True

    async def _answer(self, command: Command) -> None:
        try:
            said = await self._perform(command)
        except BadSyntax as error:
            said = f"BAD {error.args[0]}"
        except Refused as error:
            said = f"NO {error}"
        if said == ANSWERED:
            return
        await asyncio.sleep(self.host.script.faults.answer_delay)
        self.tell_news(expunges=command.by_uid or command.name not in ("FETCH", "STORE", "SEARCH"))
        self.out.line(f"{command.tag} {said}")
        await self.out.flush()
        await self._part_if_ordered(command, said)

    async def _part_if_ordered(self, command: Command, said: str) -> None:
        if self.view is not None and self.view.stale:
            await self._last_word("* BYE The mailbox is no longer what it was")
            raise ConnectionCut
        logged_in = said.startswith("OK") and command.name in ("LOGIN", "AUTHENTICATE")
        if logged_in and self.host.script.faults.drop_after_login:
            raise ConnectionCut

    async def _perform(self, command: Command) -> str:
        known = COMMANDS.get(command.full_name)
        if known is None or (known.capability is not None and not self.offers(known.capability)):
            raise BadSyntax(f"Unknown command {command.full_name}")
        if self.state() not in known.states:
            raise BadSyntax(f"{command.full_name} cannot be used now")
        said = await known.run(self, command)
        return f"OK {command.full_name} completed" if said is None else said

    def state(self) -> States:
        """Return the state of RFC 3501 3."""
        if self.account is None:
            return States.GREETED
        return States.LOGGED_IN if self.view is None else States.SELECTED

    # The selected mailbox

    def enter_mailbox(self, view: View) -> None:
        """Select a mailbox and listen to its changes."""
        self.leave_mailbox()
        self.view = view
        view.mailbox.watchers.add(self.stirred.set)

    def leave_mailbox(self) -> None:
        """Select nothing."""
        if self.view is not None:
            self.view.mailbox.watchers.discard(self.stirred.set)
        self.view = None

    def tell_news(self, *, expunges: bool) -> None:
        """Add what happened in the selected mailbox since the client was last told."""
        view = self.view
        if view is None or view.stale:
            return
        self.stirred.clear()
        if expunges:
            for number in view.expunges():
                self.out.line(b"* %d EXPUNGE" % number)
        if view.arrivals():
            self.out.line(b"* %d EXISTS" % len(view.uids))
        for message in view.changes():
            self.tell_flags(message)
        if self.host.script.faults.unsolicited_fetch and view.uids:
            first = view.message(view.uids[0])
            if first is not None:
                self.tell_flags(first)

    def tell_flags(self, message: Message, *, with_uid: bool = False, flags: bool = True) -> None:
        """Add an untagged FETCH with the flags of a message, and its MODSEQ where the client cares."""
        data: Mapping[str, bytes] = {
            **({"UID": b"%d" % message.uid} if with_uid else {}),
            **({"FLAGS": format_flags(message.flags)} if flags else {}),
            **({"MODSEQ": b"(%d)" % self.shown_modseq(message.modseq)} if self.condstore else {}),
        }
        omitted = self.host.script.faults.omit_fetched
        told = b" ".join(name.encode() + b" " + value for name, value in data.items() if name not in omitted)
        self.out.line(b"* %d FETCH (%b)" % (self.selected.number(message.uid), told))

    def shown_modseq(self, modseq: int) -> int:
        """Return the MODSEQ we tell, lowered where the test wants it to fall."""
        return max(1, modseq - self.host.script.faults.modseq_falls_by)
