"""Mirroring: remote mailbox to rows."""

from django.apps import AppConfig


class SyncConfig(AppConfig):
    name = "sync"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have /metrics tell of the mirror."""
        from sync.services import figures

        figures.register()
