"""Models whose every change is in the transaction log: write as with any Django model, and it is recorded.

Every door of a LoggedModel and of its queryset takes the account's lock, writes, and records in one transaction; what
goes past them is refused by the guards in the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

from django.db import connections, models, router
from django.db.models.base import ModelBase
from django.db.models.signals import class_prepared, post_delete, post_save, pre_save

from accounts.changelog.changes import Change, record_changes
from accounts.changelog.locks import door, open_head
from accounts.changelog.queryset import LoggedQuerySet
from accounts.changelog.rows import bulk_insert, bulk_update_values, column_of
from accounts.changelog.words import OBJECT_TYPES, ObjectType

__all__ = ["LoggedModel", "LoggedQuerySet", "bulk_insert", "bulk_update_values", "next_id"]


class LoggedModel(models.Model):
    """A row that is a public object of an account. Its public columns change only together with the log.

    Subclasses have an `account_id` column, or are the account themselves (then with `application_id`).
    """

    sharded: ClassVar[bool] = True

    #: The word of the wire (api.md 12.1).
    log_type: ClassVar[str]
    #: A boolean column that makes the object a draft: a change of it is `deleted` of one type, `created` of the other.
    log_type_flag: ClassVar[str | None] = None
    #: Columns no client sees: an update of these alone is not recorded.
    internal_fields: ClassVar[frozenset[str]] = frozenset()
    #: Columns `tombstone` needs. What the transaction tells anyway (id, account, type) is not kept again.
    tombstone_fields: ClassVar[tuple[str, ...]] = ()

    #: The type the row had in the log before it is saved; None: it cannot differ.
    _type_before: ObjectType | None = None

    id = models.BigAutoField(primary_key=True)

    objects = LoggedQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"

    def save(
        self,
        *,
        force_insert: bool | tuple[ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Write the row and record it, under the account's lock. A new account gets its head first."""
        alias = using or router.db_for_write(type(self), instance=self)
        names = None if update_fields is None else frozenset(update_fields)
        with self._open(alias):
            self._type_before = self._stored_type(alias, names)
            super().save(force_insert=force_insert, force_update=force_update, using=alias, update_fields=names)

    # Django marks what it alters so that templates cannot call it
    save.alters_data = True  # type: ignore[attr-defined]

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        """Delete the row and what hangs on it, and record it. A row that is gone already is not recorded again."""
        alias = using or router.db_for_write(type(self), instance=self)
        kept = [name for name in (self.log_type_flag, *self.tombstone_fields) if name]
        with door([self._owner()], alias):
            stored = self._stored(alias).values("pk", *kept).first()
            if stored is None:
                return 0, {}
            for name in kept:
                setattr(self, name, stored[name])
            return super().delete(using=alias, keep_parents=keep_parents)

    delete.alters_data = True  # type: ignore[attr-defined]

    @classmethod
    def tombstone(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what to keep of a deleted object, given its `tombstone_fields`; None: nothing."""
        return dict(values) or None

    @classmethod
    def owner_field(cls) -> str:
        """Return the attribute that holds the account: its own id where the row is the account."""
        return "account_id" if any(one.attname == "account_id" for one in cls._meta.concrete_fields) else "id"

    @classmethod
    def is_owner(cls) -> bool:
        """Whether the row is an account itself."""
        return cls.owner_field() == "id"

    @classmethod
    def object_type(cls, flag: bool | None) -> ObjectType:
        """Return the type in the log of a row with this value of `log_type_flag`."""
        return ObjectType.DRAFT if flag else OBJECT_TYPES[cls.log_type]

    @classmethod
    def public_fields(cls) -> frozenset[str]:
        """Return the attribute names of the columns that clients see."""
        internal = {column_of(cls, name).attname for name in cls.internal_fields}
        return frozenset(field.attname for field in cls._meta.concrete_fields) - internal

    def _owner(self) -> int:
        owner = getattr(self, self.owner_field())
        if not isinstance(owner, int):
            raise TypeError(f"{self._meta.label} has no account")
        return owner

    def _open(self, alias: str) -> AbstractContextManager[None]:
        if self.is_owner() and self._state.adding:
            if not self.pk:
                self.pk = next_id(type(self), alias)
            return open_head(self.pk, self.application_id, using=alias)  # type: ignore[attr-defined]
        return door([self._owner()], alias)

    def _stored(self, alias: str) -> models.QuerySet[Self]:
        return type(self)._base_manager.using(alias).filter(pk=self.pk)

    def _stored_type(self, alias: str, update_fields: frozenset[str] | None) -> ObjectType | None:
        flag = self.log_type_flag
        if flag is None or self._state.adding or (update_fields is not None and flag not in update_fields):
            return None
        stored = self._stored(alias).values_list(flag, flat=True).first()
        return None if stored is None else self.object_type(stored)

    def _current_type(self) -> ObjectType:
        return self.object_type(getattr(self, self.log_type_flag) if self.log_type_flag else None)

    def _kept(self) -> dict[str, Any] | None:
        return self.tombstone({name: getattr(self, name) for name in self.tombstone_fields})


def next_id(model: type[LoggedModel], alias: str) -> int:
    """Take the next id of a model from its sequence, for a row that is named elsewhere before it is made."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [model._meta.db_table])
        (value,) = cursor.fetchone()
    return int(value)


def _record_save(
    instance: LoggedModel, created: bool, update_fields: frozenset[str] | None, using: str, **_signal: object
) -> None:
    internal = instance.internal_fields
    if not created and update_fields is not None and update_fields <= internal:
        return
    now = instance._current_type()
    before = None if created else instance._type_before or now
    record_changes([Change(instance._owner(), instance.pk, before, now, instance._kept())], using=using)


def _record_delete(instance: LoggedModel, using: str, **_signal: object) -> None:
    change = Change(instance._owner(), instance.pk, instance._current_type(), None, instance._kept())
    record_changes([change], using=using)


class LoadRefused(RuntimeError):
    """`loaddata` goes past every door: the rows of a mailbox cannot be loaded from fixtures."""


def _refuse_load(sender: type[models.Model], raw: bool, **_signal: object) -> None:
    if raw:
        raise LoadRefused(f"{sender._meta.label} is logged and cannot be loaded: restore a dump, or use factories")


def _listen_to(sender: type[models.Model], **_signal: object) -> None:
    """Listen to each logged model by itself: to listen to all would take from all others Django's fast deletes."""
    if issubclass(sender, LoggedModel):
        pre_save.connect(_refuse_load, sender=sender)
        post_save.connect(_record_save, sender=sender)
        post_delete.connect(_record_delete, sender=sender)


class_prepared.connect(_listen_to)
