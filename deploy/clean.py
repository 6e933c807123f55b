"""Remove everything that was made here: the environment, DATA_DIR and its PostgreSQL, caches. `make clean`.

Refuses while a stack runs on DATA_DIR.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: The only place beside DATA_DIR where we keep files: see project/embedded_postgres.py.
OUTSIDE = Path("/var/lib/mailmirror")
CACHES = (".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")


def main() -> int:
    """Remove it all; return the exit status."""
    data_dir = Path(os.environ.get("DATA_DIR") or ROOT / "var").absolute()
    if in_use(data_dir):
        sys.stderr.write(f"{data_dir} is in use: stop what runs on it first\n")
        return 1
    # a DATA_DIR of the caller's may be anything: only what we make there goes
    if data_dir == ROOT / "var":
        remove_outside(data_dir)
        remove(data_dir)
    else:
        remove_ours(data_dir)
    for name in CACHES:
        remove(ROOT / name)
    for compiled in list(ROOT.rglob("__pycache__")):
        remove(compiled)
    return 0


def in_use(data_dir: Path) -> bool:
    """Whether a stack runs there: it holds a lock."""
    try:
        with (data_dir / "lock" / "owner").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def remove_outside(data_dir: Path) -> None:
    """Remove the PostgreSQL that DATA_DIR points to."""
    link = data_dir / "postgres"
    if link.is_symlink():
        home = link.resolve()
        if home.parent == OUTSIDE:
            remove(home)
            # others may still be there
            with contextlib.suppress(OSError):
                OUTSIDE.rmdir()


def remove_ours(data_dir: Path) -> None:
    """Remove what we made in a directory that somebody named."""
    remove_outside(data_dir)
    for name in (
        "postgres",
        "valkey",
        "secrets",
        "lock",
        "logs",
        "metrics",
        "demo",
        "profiles",
        "servers",
        "ports.json",
    ):
        remove(data_dir / name)
    for schedule in data_dir.glob("celerybeat-schedule*"):
        remove(schedule)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
