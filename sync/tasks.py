"""Tasks: thin. Ids in, one service call, errors become the next due time in the database."""

from __future__ import annotations

from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from accounts.changelog.reader import prune
from accounts.services import invalidate_account
from celery_config import app
from project.shards import on_shard, shards
from sync.errors import FolderGone, NeedsOwner, Transient
from sync.services import folder_sync, holding, look, removal, schedule
from sync.services.leases import LeaseLost, claim_account, claim_folder

log = structlog.get_logger(__name__)


@app.task(ignore_result=True)
def look_at_account(*, account_id: int, **_future: object) -> None:
    """Look at one account as a whole; folders that differ are enqueued."""
    with on_shard(account_id):
        lease = claim_account(account_id)
        if lease is None:
            return
        try:
            active = look.look_at_account(lease)
        except LeaseLost as error:
            log.warning("lease_lost", error=str(error))
        except Transient as error:
            schedule.release_failed(lease, error, retry_after=error.retry_after)
        except NeedsOwner as error:
            if schedule.release_failed(lease, error):
                invalidate_account(account_id=account_id, reason=str(error))
        except Exception as error:
            if schedule.release_failed(lease, error):
                raise
        else:
            schedule.release_account(lease, active=active)


@app.task(ignore_result=True)
def sync_folder(*, folder_id: int, **_future: object) -> None:
    """Make one folder equal to the server, or a slice of it."""
    with on_shard(folder_id):
        lease = claim_folder(folder_id)
        if lease is None:
            return
        try:
            report = folder_sync.sync_folder(lease)
        except LeaseLost as error:
            log.warning("lease_lost", error=str(error))
        except Transient as error:
            schedule.release_failed(lease, error, retry_after=error.retry_after)
        except NeedsOwner as error:
            if schedule.release_failed(lease, error):
                invalidate_account(account_id=lease.account_id, reason=str(error))
        except FolderGone as error:
            # only the list of folders tells what became of it: renamed, or gone
            if schedule.release_failed(lease, error):
                schedule.request_pass(account_id=lease.account_id)
        except Exception as error:
            if schedule.release_failed(lease, error):
                raise
        else:
            schedule.release_folder(lease, provable=report.provable, more=report.more)
            schedule.note_news(lease.account_id, vanished=report.vanished > 0, news=report.news)
            holding.settle(lease.account_id)


@app.task(ignore_result=True)
def delete_mail(*, account_id: int, **_future: object) -> None:
    """Delete the mail of an account that was removed, or a slice of it."""
    removal.delete_some_mail(account_id=account_id)


@app.task(ignore_result=True)
def schedule_due_folders(**_future: object) -> None:
    """Enqueue the folders whose time has come, in every shard."""
    for shard in shards():
        with on_shard(shard=shard):
            schedule.schedule_due_folders()


@app.task(ignore_result=True)
def schedule_due_accounts(**_future: object) -> None:
    """Enqueue looks at the accounts whose time has come, in every shard."""
    for shard in shards():
        with on_shard(shard=shard):
            schedule.schedule_due_accounts()


@app.task(ignore_result=True)
def maintain(**_future: object) -> None:
    """Once a minute: prune the log, forget remembered ids, go on with removals, mend the directory."""
    for shard in shards():
        with on_shard(shard=shard):
            prune(timezone.now() - timedelta(days=settings.CHANGELOG_RETENTION_DAYS))
            holding.forget_remembered()
            removal.sweep_removals()
    removal.sweep_directory()
