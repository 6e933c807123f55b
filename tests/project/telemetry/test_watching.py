"""The watchdog names what blocks the hub; the sampler writes where time goes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BLOCK = """
from gevent import monkey; monkey.patch_all()
import time, gevent
from project.telemetry.logs import configure_logging
from project.telemetry.watchdog import Watchdog
configure_logging("json", "info")
def chew(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass
Watchdog(blocked_seconds=0.2, stuck_seconds=STUCK).start()
gevent.sleep(0.5)
chew(0.8)
gevent.sleep(0.5)
"""

SAMPLE = """
import os, signal, sys, time
from pathlib import Path
from project.telemetry.sampler import Sampler
def chew(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end: pass
sampler = Sampler(Path(sys.argv[1]), "test")
sampler.listen()
os.kill(os.getpid(), signal.SIGUSR2)
chew(0.5)
os.kill(os.getpid(), signal.SIGUSR2)
assert not sampler.is_on
print(sampler.path)
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done


def test_greenlet_that_keeps_the_hub_is_named_with_its_time() -> None:
    said = run(BLOCK.replace("STUCK", "60")).stderr
    assert said.count("hub_blocked") == 1
    assert "in chew" in said
    assert "hub stuck" not in said


def test_greenlet_that_does_not_end_is_named_meanwhile() -> None:
    assert "hub stuck" in run(BLOCK.replace("STUCK", "0.4")).stderr


def test_signal_switches_sampling_on_and_writes_folded_stacks(tmp_path: object) -> None:
    path = Path(run(SAMPLE, str(tmp_path)).stdout.strip())
    lines = path.read_text(encoding="utf-8").splitlines()
    counts = {stack: int(count) for stack, _, count in (line.rpartition(" ") for line in lines)}
    chewing = sum(count for stack, count in counts.items() if stack.endswith("__main__.chew"))
    assert chewing > 10
    assert chewing > sum(counts.values()) / 2
