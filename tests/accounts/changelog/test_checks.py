"""A logged model that would not be logged is told by `manage.py check`."""

from __future__ import annotations

from typing import ClassVar

from django.apps.registry import Apps
from django.core.checks import run_checks
from django.db import models

from accounts.changelog.checks import faults
from accounts.changelog.logged import LoggedModel


def test_our_own_models_are_sound() -> None:
    assert [one for one in run_checks(tags=["models"]) if str(one.id).startswith("changelog.")] == []


def test_each_fault_is_named() -> None:
    class Broken(LoggedModel):
        log_type: ClassVar[str] = "postcard"
        log_type_flag: ClassVar[str | None] = "text"
        internal_fields: ClassVar[frozenset[str]] = frozenset({"gone"})
        tombstone_fields: ClassVar[tuple[str, ...]] = ("gone too",)

        text = models.TextField()
        rows = models.Manager()

        class Meta:
            app_label = "broken"
            apps = Apps()
            base_manager_name = "rows"
            default_manager_name = "rows"

        def __str__(self) -> str:
            return self.text

    assert [number for number, _ in faults(Broken)] == [1, 2, 3, 3, 4, 5, 5]
