"""The random and fault tests again, with random seeds, until the time is up: `make soak MINUTES=30`."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time

#: What is random or breaks things.
MARKED = "hypothesis or faults"


def main() -> int:
    """Run rounds until the time is up; status 1 at the first round that fails. Prints each round's seed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    minutes: float = parser.parse_args().minutes
    until = time.monotonic() + minutes * 60
    rounds = 0
    while time.monotonic() < until:
        seed = random.SystemRandom().randrange(2**32)
        print(f"soak: round {rounds + 1}, seed {seed}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "-m", MARKED, f"--hypothesis-seed={seed}"]
        if subprocess.run(command, check=False).returncode:
            print(f"soak: failed; again with: pytest -m '{MARKED}' --hypothesis-seed={seed}", flush=True)
            return 1
        rounds += 1
    print(f"soak: {rounds} rounds in {minutes:g} minutes, none failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
