"""What every test may use. PostgreSQL and Valkey are there before: see tests/stack.py."""

from __future__ import annotations

pytest_plugins = ["tests.servers.plugin"]
