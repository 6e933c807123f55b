"""Measure what was promised: `make bench`.

    python -m benchmarks [--messages N]

Each figure beside its floor in the same run. Writes docs/performance.md; the exit status is 1 when a promised figure
was missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import first_mirror, listing, unchanged
from benchmarks.figures import Section
from benchmarks.stack import running_stack
from tests.servers.dovecot import Dovecot
from tests.servers.install import tool

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
#: Of the promised figures; a run with fewer is a try and writes no page.
MESSAGES = 5000


def main() -> int:
    """Run everything; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=MESSAGES, help="size of the mailbox (%(default)s)")
    count = parser.parse_args().messages
    wanted = tool("dovecot")
    if not wanted.present():
        sys.stderr.write(f"Dovecot is missing; get it with: {wanted.remedy}\n")
        return 2
    sections = measure(count)
    page = "\n\n".join([head(), *(section.markdown() for section in sections)]) + "\n"
    sys.stdout.write(page)
    if count == MESSAGES:
        PAGE.write_text(page, encoding="utf-8")
    missed = [figure.name for section in sections for figure in section.figures if not figure.kept]
    for name in missed:
        sys.stderr.write(f"missed: {name}\n")
    return int(bool(missed))


def measure(count: int) -> list[Section]:
    """Run every measurement, one after the other."""
    with Dovecot() as server:
        say(f"filling a mailbox with {count:,} messages ...")
        filled = first_mirror.fill(server, count)
        say("first mirror ...")
        with running_stack() as stack:
            mirrored, took = first_mirror.report(stack, filled)
            say(f"listing {listing.MESSAGES:,} messages ...")
            listed = listing.report(stack, took.grant)
    say("an unchanged account ...")
    return [mirrored, unchanged.report(), listed]


def say(line: str) -> None:
    """Tell a person who waits what happens."""
    sys.stderr.write(f"{line}\n")


def head() -> str:
    """Return the beginning of the page: of which machine, when, of what."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return (
        "# Performance\n\n"
        "Written by `make bench`. Each figure stands beside its floor: the least that the same work can cost, measured"
        " in the same run. Ratios carry over to other machines, the raw numbers do not.\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip() or 'unknown'}, Python"
        f" {platform.python_version()}, {os.cpu_count()} cores ({_processor()}), {platform.system()}"
        f" {platform.release()}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
