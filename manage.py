#!/usr/bin/env python3
"""Run one command of Mailmirror: `manage.py help` lists them."""

from __future__ import annotations

import os
import sys


def main(arguments: list[str]) -> None:
    """Run the command that the arguments name, beside what it needs: see `project.commands`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from project.commands import run_command

    sys.exit(run_command(arguments))


if __name__ == "__main__":
    main(sys.argv)
