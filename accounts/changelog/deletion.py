"""Deleting logged rows in bulk, with all that hangs on them (Django's own way loads each row and its children)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import models
from django.db.models.deletion import get_candidate_relations_to_delete

from accounts.changelog.changes import Change

#: Rows a statement.
SLICE = 1000


class Deletion:
    """One deletion of many rows: what it deleted, and the changes to record."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.changes: list[Change] = []
        #: Label of a model -> rows deleted.
        self.counts: Counter[str] = Counter()

    def take(self, model: type[models.Model], ids: Sequence[int]) -> None:
        """Delete rows by key, children first. Raises ProtectedError where a child forbids it."""
        for start in range(0, len(ids), SLICE):
            slice_ids = ids[start : start + SLICE]
            rows = model._base_manager.using(self.using).filter(pk__in=slice_ids)
            self.changes += self._changes(model, rows)
            self._take_children(model, {"pk__in": slice_ids})
            self._remove(rows)

    def _changes(self, model: type[models.Model], rows: models.QuerySet[Any]) -> Iterator[Change]:
        # late: the models of logged.py have this class's user as their queryset
        from accounts.changelog.logged import LoggedModel

        if not issubclass(model, LoggedModel):
            return
        flag, kept = model.log_type_flag, model.tombstone_fields
        names = [model.owner_field(), *([flag] if flag else []), *kept]
        for pk, account_id, *values in rows.order_by("pk").values_list("pk", *names):
            object_type = model.object_type(values.pop(0) if flag else None)
            tombstone = model.tombstone(dict(zip(kept, values, strict=True)))
            yield Change(account_id, pk, object_type, None, tombstone)

    def _take_children(self, model: type[models.Model], condition: Mapping[str, Any]) -> None:
        """Take what points at the rows of `model` that meet a condition of one lookup."""
        ((path, value),) = condition.items()
        for relation in get_candidate_relations_to_delete(model._meta):
            field: Any = relation.remote_field
            lookup = f"{field.name}__in" if path == "pk__in" else f"{field.name}__{path}"
            self._take_child(field.model, field, field.remote_field.on_delete, {lookup: value})

    def _take_child(self, child: type[models.Model], field: Any, on_delete: Any, condition: Mapping[str, Any]) -> None:
        from accounts.changelog.logged import LoggedModel

        rows = child._base_manager.using(self.using).filter(**condition)
        if on_delete is models.CASCADE and issubclass(child, LoggedModel):
            self.take(child, list(rows.values_list("pk", flat=True)))
        elif on_delete is models.CASCADE:
            self._take_children(child, condition)
            self._remove(rows)
        elif on_delete in (models.SET_NULL, models.SET_DEFAULT):
            rows.update(**{field.name: None if on_delete is models.SET_NULL else field.get_default()})
        elif on_delete is not models.DO_NOTHING:
            protected = set(rows[:10])
            if protected:
                raise models.ProtectedError(f"{field} still points at rows to be deleted", protected)

    def _remove(self, rows: models.QuerySet[Any]) -> None:
        removed = rows.order_by()._raw_delete(self.using)
        if removed:
            self.counts[rows.model._meta.label] += removed
