"""Mirroring: remote mailbox to rows."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    name = "sync"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have workers take over what their forerunners left, and /metrics tell of the mirror."""
        from sync.services import figures
        from sync.workers import observe_workers

        observe_workers()
        figures.register()
