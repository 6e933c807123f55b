"""How far the mirrors are."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from django.core.management import BaseCommand, CommandParser
from django.utils import timezone

from accounts.models import Account, GrantDirectory
from project.shards import on_shard
from sync.services.progress import FolderProgress, SyncProgress, sync_progress


def seconds(moment: datetime | None) -> float | None:
    """A moment as unix seconds."""
    return None if moment is None else round(moment.timestamp(), 3)


def as_json(grant: GrantDirectory, progress: SyncProgress) -> dict[str, Any]:
    """One account, with the fields of api.md 12.2."""
    return {
        "email": grant.email,
        "grant_id": str(grant.account_id),
        "application": grant.application.name,
        "state": progress.state,
        "requested": progress.requested,
        "completed": progress.completed,
        "messages_known": progress.messages_known,
        "messages_mirrored": progress.messages_mirrored,
        "progress": progress.progress,
        "eta_seconds": progress.eta_seconds,
        "last_synced_at": seconds(progress.last_synced_at),
        "last_error": progress.last_error or None,
        "folders": [_folder(one) for one in progress.folders],
    }


def _folder(one: FolderProgress) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "name": one.name,
        "path": one.path,
        "state": one.state,
        "messages_known": one.messages_known,
        "messages_mirrored": one.messages_mirrored,
        "last_synced_at": seconds(one.last_synced_at),
        "uidvalidity": one.uidvalidity,
        "push": one.push,
        "last_error": one.last_error or None,
    }


class Command(BaseCommand):
    """See `help`."""

    help = "Accounts and folders: state, messages known and mirrored, lag, last error."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--json", action="store_true", help="a JSON list, with the fields of the API")

    def handle(self, *, json: bool, **options: object) -> None:
        """Tell."""
        told = []
        for grant in GrantDirectory.objects.select_related("application").order_by("email"):
            with on_shard(grant.account_id):
                try:
                    told.append((grant, sync_progress(grant.account_id)))
                except Account.DoesNotExist:
                    # connecting is about to store it, or removing it is about to end: neither takes long
                    continue
        if json:
            self.stdout.write(dump([as_json(grant, progress) for grant, progress in told]))
            return
        if not told:
            self.stdout.write("no account is connected; connect one with: manage.py connect_account EMAIL")
        for grant, progress in told:
            self._write(grant, progress)

    def _write(self, grant: GrantDirectory, progress: SyncProgress) -> None:
        error = f"  {progress.last_error}" if progress.last_error else ""
        self.stdout.write(
            f"{grant.email}  grant {grant.account_id}  {progress.state}  "
            f"{progress.messages_mirrored}/{progress.messages_known} messages  {lag(progress.last_synced_at)}{error}"
        )
        for one in progress.folders:
            error = f"  {one.last_error}" if one.last_error else ""
            self.stdout.write(
                f"  {one.path:30}  {one.state:8}  {one.messages_mirrored}/{one.messages_known}  "
                f"{lag(one.last_synced_at)}{error}"
            )


def lag(moment: datetime | None) -> str:
    """How old the last comparison is, for people."""
    return "never compared" if moment is None else f"compared {(timezone.now() - moment).total_seconds():.0f} s ago"


def dump(value: Any) -> str:
    """JSON for people and programs."""
    return json.dumps(value, indent=2, ensure_ascii=False)
