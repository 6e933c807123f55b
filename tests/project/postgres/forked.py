"""A process that forks while it has one connection in use and one idle: `python -m tests.project.postgres.forked`.

Prints the pids of the server processes that parent and child talk to.
"""

from __future__ import annotations

import json
import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from django.db import connection  # noqa: E402

from project.postgres import pool_states  # noqa: E402
from tests.project.postgres.asking import backend  # noqa: E402


def main() -> None:
    """Fork, and ask on both sides."""
    other = connection.copy()
    before = {backend(connection), backend(other)}
    other.close()
    child = os.fork()
    if child == 0:
        alone = not pool_states() and connection.connection is None
        mine = backend(connection)
        connection.close()
        os._exit(0 if alone and mine not in before and pool_states()["default"].idle == 1 else 1)
    _, status = os.waitpid(child, 0)
    after = {backend(connection), backend(other)}
    print(json.dumps({"child": status, "before": sorted(before), "after": sorted(after)}))


if __name__ == "__main__":
    main()
