"""What `manage.py check` says of logged models that would not be logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from accounts.changelog.queryset import LoggedQuerySet
from accounts.changelog.words import OBJECT_TYPES


@register("models")
def check_logged_models(app_configs: Sequence[AppConfig] | None, **_options: object) -> list[CheckMessage]:
    """Check every logged model of these apps; None: of all."""
    from accounts.changelog.logged import LoggedModel

    configs = apps.get_app_configs() if app_configs is None else app_configs
    found = [model for config in configs for model in config.get_models() if issubclass(model, LoggedModel)]
    return [
        Error(message, obj=model, id=f"changelog.E{number:03}") for model in found for number, message in faults(model)
    ]


def faults(model: Any) -> Iterator[tuple[int, str]]:
    """Give number and text of each fault of a logged model."""
    if getattr(model, "log_type", None) not in OBJECT_TYPES:
        yield 1, f"log_type must be one of {', '.join(map(str, OBJECT_TYPES))}."
    owner = "application_id" if model.is_owner() else "account_id"
    if not _has(model, owner):
        yield 2, "A logged model has an account_id, or is the account and has an application_id."
    for name in (*model.internal_fields, *model.tombstone_fields):
        if not _has(model, name):
            yield 3, f"There is no column {name!r}, which internal_fields or tombstone_fields name."
    flag = model.log_type_flag
    if flag is not None and not (_has(model, flag) and isinstance(model._meta.get_field(flag), models.BooleanField)):
        yield 4, f"log_type_flag names {flag!r}, which is not a boolean column."
    for manager in (model._default_manager, model._base_manager):
        if not isinstance(manager.get_queryset(), LoggedQuerySet):
            yield 5, "The default and the base manager must be LoggedQuerySet's: related objects are written by them."


def _has(model: type[models.Model], name: str) -> bool:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return any(field.attname == name for field in model._meta.concrete_fields)
    return getattr(field, "column", None) is not None
