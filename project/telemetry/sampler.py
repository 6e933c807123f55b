"""Where a running process spends its time: SIGUSR2 switches sampling on, and again off.

What was seen is written as folded stacks, one line a stack and its count, which any flame graph program draws.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from gevent import monkey

#: Seconds between two looks.
INTERVAL_SECONDS = 0.01
#: Frames of a stack that are kept, innermost.
DEPTH = 60
#: How the stacks of our own instruments begin, which are left out.
OWN = "project.telemetry."

_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")
_ident = monkey.get_original("_thread", "get_ident")


def folded(frame: FrameType | None) -> str:
    """Return a stack as module.function;module.function, outermost first."""
    names: list[str] = []
    while frame is not None and len(names) < DEPTH:
        names.append(f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_name}")
        frame = frame.f_back
    return ";".join(reversed(names))


class Sampler:
    """Samples the stacks of every thread of this process while it is on."""

    def __init__(self, directory: Path, process: str) -> None:
        self.path = directory / f"{process}-{os.getpid()}.folded"
        self._seen: Counter[str] | None = None

    @property
    def is_on(self) -> bool:
        """Whether it samples."""
        return self._seen is not None

    def switch(self) -> None:
        """Begin to sample; or end, and write what was seen."""
        if self._seen is None:
            self._seen = Counter()
            _start_thread(self._sample, (self._seen,))
            return
        seen, self._seen = self._seen, None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f"{stack} {count}\n" for stack, count in sorted(seen.copy().items())]
        self.path.write_text("".join(lines), encoding="utf-8")

    def listen(self) -> None:
        """Switch at SIGUSR2; call in the main thread."""
        signal.signal(signal.SIGUSR2, lambda _number, _frame: self.switch())

    def _sample(self, seen: Counter[str]) -> None:
        me = _ident()
        while self._seen is seen:
            began = time.perf_counter()
            for thread, frame in sys._current_frames().items():
                stack = folded(frame)
                if thread != me and not stack.startswith(OWN):
                    seen[stack] += 1
            _sleep(max(0.0, INTERVAL_SECONDS - (time.perf_counter() - began)))
