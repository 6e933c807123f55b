"""IDLE (RFC 2177): the news of the selected mailbox at once, until the client says DONE."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from project.demo.outlet import ConnectionCut
from project.demo.wire import BadSyntax, Command

if TYPE_CHECKING:
    from project.demo.session import Session


async def idle(session: Session, command: Command) -> str | None:
    """Push what happens; ends at DONE."""
    session.tell_news(expunges=True)
    session.out.line("+ idling")
    await session.out.flush()
    done = asyncio.ensure_future(session.reader.readline())
    try:
        await _push_until(done, session)
        line = await done
    finally:
        if not done.cancel() and not done.cancelled():
            # Looked at, so that the event loop does not complain when the push failed first.
            done.exception()
    if not line:
        raise ConnectionCut
    if line.strip().upper() != b"DONE":
        raise BadSyntax("IDLE ends with DONE")
    return None


async def _push_until(done: asyncio.Future[bytes], session: Session) -> None:
    session.host.idlers += 1
    try:
        while not done.done():
            stirred = asyncio.ensure_future(session.stirred.wait())
            waits: set[asyncio.Future[Any]] = {done, stirred}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            stirred.cancel()
            if session.view is not None and session.view.stale:
                session.out.line("* BYE The mailbox is no longer what it was")
                await session.out.flush()
                raise ConnectionCut
            session.stirred.clear()
            session.tell_news(expunges=True)
            await session.out.flush()
    finally:
        session.host.idlers -= 1
