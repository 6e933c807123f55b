"""Take the embedded PostgreSQL to the major version that is installed now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from project.embedded import record_of
from project.embedded_postgres import major_version
from project.occupancy import Occupancy
from project.postgres_upgrade import upgrade


class Command(BaseCommand):
    help = (
        "Dump the embedded PostgreSQL with the programs of its old major version and restore it into a new cluster. "
        "The old one is kept beside it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument(
            "--programs", type=Path, metavar="DIR", help="where the old version's postgres and pg_dump are (looked for)"
        )

    def handle(self, *args: Any, programs: Path | None, **options: Any) -> None:
        """Upgrade."""
        record = record_of(settings.DATA_DIR)
        with Occupancy(settings.DATA_DIR, "upgrade_postgres").own():
            record.end_leftovers()
            old = upgrade(settings.DATA_DIR, record, self.stdout.write, programs)
            record.forget()
        if old is None:
            self.stdout.write(f"nothing to do: the data is PostgreSQL {major_version()}'s")
        else:
            kept = settings.DATA_DIR / "postgres" / f"data-{old}"
            self.stdout.write(f"upgraded from {old} to {major_version()}; remove {kept} when all is well")
