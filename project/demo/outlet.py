"""The way out to one client, where faults bend what is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from project.demo.faults import Faults


class ConnectionCut(Exception):
    """The connection is closed on purpose; the session ends."""


class Outlet:
    """Collects the bytes of answers and sends them, whole or as the faults of the moment want it."""

    #: Bytes after which a write is sent without waiting for the end of the answer.
    HIGH_WATER = 1 << 18

    def __init__(self, writer: asyncio.StreamWriter, faults: Callable[[], Faults]) -> None:
        self.writer = writer
        self._faults = faults
        self._pending: list[bytes] = []
        self._size = 0
        self._sent = 0

    def line(self, text: bytes | str) -> None:
        """Add one line."""
        self.add((text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text) + b"\r\n")

    def add(self, data: bytes) -> None:
        """Add bytes as they are."""
        self._pending.append(data)
        self._size += len(data)

    async def flush(self) -> None:
        """Send what was added. Raises ConnectionCut when the faults say so, ConnectionError when the client is gone."""
        data, self._pending, self._size = b"".join(self._pending), [], 0
        if not data:
            return
        faults = self._faults()
        if faults.cut_after_bytes is not None and self._sent + len(data) > faults.cut_after_bytes:
            await self._send(data[: max(0, faults.cut_after_bytes - self._sent)], faults)
            raise ConnectionCut
        await self._send(data, faults)

    async def relieve(self) -> None:
        """Send what was added if it is much."""
        if self._size > self.HIGH_WATER:
            await self.flush()

    async def _send(self, data: bytes, faults: Faults) -> None:
        self._sent += len(data)
        step = faults.packet_size or len(data)
        for at in range(0, len(data), step or 1):
            self.writer.write(data[at : at + step])
            await self.writer.drain()
            if faults.packet_size:
                await asyncio.sleep(faults.packet_pause)
