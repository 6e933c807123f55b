"""Notices when one greenlet keeps all others of its process from running, and says what it was doing."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field

import gevent
import structlog
from gevent import monkey

log = structlog.get_logger(__name__)

#: Seconds that a greenlet may keep the hub before we speak of it.
BLOCKED_SECONDS = 1.0
#: Seconds between two signs of life.
BEAT_SECONDS = 0.1
#: Seconds after which what blocks is told at once, not when it ends.
STUCK_SECONDS = 10.0

# of the operating system: what watches the hub must not wait for it
_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")


@dataclass
class Watchdog:
    """A greenlet that shows signs of life, and a thread that looks for them."""

    blocked_seconds: float = BLOCKED_SECONDS
    stuck_seconds: float = STUCK_SECONDS
    _alive_at: float = field(default_factory=time.monotonic)
    _stack: str = ""
    _told: bool = False
    _stopped: bool = False

    def start(self) -> None:
        """Begin, in the thread whose hub is watched."""
        self._thread = threading.get_native_id()
        self._frame_key = monkey.get_original("_thread", "get_ident")()
        gevent.spawn(self._show_life)
        _start_thread(self._look, ())

    def stop(self) -> None:
        """End both."""
        self._stopped = True

    def _show_life(self) -> None:
        while not self._stopped:
            now = time.monotonic()
            silent = now - self._alive_at - BEAT_SECONDS
            self._alive_at = now
            stack, self._stack, self._told = self._stack, "", False
            if stack and silent > self.blocked_seconds:
                log.warning("hub_blocked", seconds=round(silent, 2), stack=stack)
            gevent.sleep(BEAT_SECONDS)

    def _look(self) -> None:
        while not self._stopped:
            _sleep(self.blocked_seconds / 4)
            silent = time.monotonic() - self._alive_at
            if silent > self.blocked_seconds and not self._stack:
                self._stack = self._stack_of_hub()
            if silent > self.stuck_seconds and not self._told:
                self._told = True
                # not through logging: the greenlet that blocks may hold its lock
                os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"hub stuck:\n{self._stack}".encode())

    def _stack_of_hub(self) -> str:
        frame = sys._current_frames().get(self._frame_key)
        return "" if frame is None else "".join(traceback.format_stack(frame)[-15:])
