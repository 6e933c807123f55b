"""Is this process alive, and can this installation do its work."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from kombu import Connection
from kombu.exceptions import KombuError

from project.databases import fault_of

#: Seconds that a broker may take to answer before it counts as down.
BROKER_PATIENCE = 2


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer: this process serves requests."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when database, broker and migrations are as they should be, else 503 with the reasons."""
    reasons = {name: reason for name, look in CHECKS.items() if (reason := look()) is not None}
    if reasons:
        return JsonResponse({"status": "not ready", "reasons": reasons}, status=503)
    return JsonResponse({"status": "ready", "checked": list(CHECKS)})


def database_fault() -> str | None:
    """Return what is wrong with a database; None: nothing."""
    faults = [f"{alias}: {fault}" for alias in connections if (fault := fault_of(alias)) is not None]
    return "; ".join(faults) or None


def broker_fault() -> str | None:
    """Return what is wrong with the broker; None: nothing."""
    try:
        with Connection(settings.CELERY_BROKER_URL, connect_timeout=BROKER_PATIENCE) as connection:
            connection.ensure_connection(max_retries=1, timeout=BROKER_PATIENCE)
    except (KombuError, OSError) as error:
        # not the error's text: it may hold the URL and its password
        return f"no connection ({type(error).__name__})"
    return None


def migrations_fault() -> str | None:
    """Return how many migrations are missing; None: none."""
    missing: list[str] = []
    try:
        for alias in connections:
            executor = MigrationExecutor(connections[alias])
            plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
            missing += [f"{migration} on {alias}" for migration, _ in plan]
    except DatabaseError:
        return "unknown: no database"
    return f"not applied: {', '.join(missing[:5])} ({len(missing)} in all)" if missing else None


CHECKS: dict[str, Callable[[], str | None]] = {
    "database": database_fault,
    "broker": broker_fault,
    "migrations": migrations_fault,
}
