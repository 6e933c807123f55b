"""Seal every secret anew with the newest key."""

from __future__ import annotations

from django.core.management import BaseCommand, CommandError

from accounts.secrets import UnknownKey
from accounts.services import reseal_credentials
from project.shards import on_shard, shards


class Command(BaseCommand):
    """See `help`."""

    help = "Re-encrypt every secret with the first of ENCRYPTION_KEYS. Interrupted, run it again."

    def handle(self, **options: object) -> None:
        """Rotate, and count."""
        read = changed = 0
        for shard in shards():
            with on_shard(shard=shard):
                try:
                    more_read, more_changed = reseal_credentials()
                except UnknownKey as error:
                    raise CommandError(str(error)) from error
                read, changed = read + more_read, changed + more_changed
        self.stdout.write(f"{read} secrets read, {changed} sealed with the first key")
