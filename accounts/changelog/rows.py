"""Rows in bulk by `unnest`: one statement with one array a column, whose length does not depend on the rows.

Arrays are written as PostgreSQL's own array text: adapting each value by the driver costs more than storing it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, time
from functools import cache
from typing import Any, NamedTuple

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models, router
from django.utils import timezone

#: A row: attribute name (`account_id`, not `account`) -> Python value.
Row = Mapping[str, Any]
Encode = Callable[[Any], str]


class Column(NamedTuple):
    """How a column's values travel: as elements of one array of `array_type`, each turned back by `read`."""

    name: str
    array_type: str
    read: str
    encode: Encode

    def array(self, values: Iterable[Any]) -> str:
        """Write values as one array; None is NULL."""
        encode = self.encode
        return "{" + ",".join(["NULL" if value is None else encode(value) for value in values]) + "}"


def bulk_insert(
    model: type[models.Model], rows: Sequence[Row] | Sequence[models.Model], *, using: str | None = None
) -> list[Any]:
    """Insert rows of a model with one statement; return their primary keys, in order (of composite ones: tuples).

    Rows are mappings by attribute name, all of the same names (absent ones take the model's default), or instances,
    which get their key. For unlogged models: a logged one has it on its queryset, which locks and records.
    """
    if not rows:
        return []
    alias = using or router.db_for_write(model)
    given = [_row_of(one) if isinstance(one, models.Model) else one for one in rows]
    columns, values = _columns_to_insert(model, given, alias)
    names = ", ".join(f'"{column.name}"' for column in columns)
    reads = ", ".join(column.read for column in columns)
    keys = _key_names(model)
    sql = f'INSERT INTO "{model._meta.db_table}" ({names}) SELECT {reads} FROM {_unnest(columns)} RETURNING {keys}'
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [column.array(each) for column, each in zip(columns, values, strict=True)])
        found = [key if len(key) > 1 else key[0] for key in cursor.fetchall()]
    for one, key in zip(rows, found, strict=True):
        if isinstance(one, models.Model):
            one.pk, one._state.adding, one._state.db = key, False, alias
    return found


class Updated(NamedTuple):
    """A row that `update_differing` wrote."""

    key: int
    account_id: int
    #: One of the columns in `shown` differed.
    shown: bool
    #: The flag before and after; None: the model has none.
    flag_before: bool | None
    flag_now: bool | None


def bulk_update_values(
    model: type[models.Model], ids: Sequence[int], columns: Mapping[str, Sequence[Any]], *, using: str | None = None
) -> int:
    """Write columns (attribute name -> a value an id) with one statement; return how many rows differed.

    For unlogged models: a logged one has it on its queryset, which locks and records.
    """
    alias = using or router.db_for_write(model)
    fields = [column_of(model, name) for name in columns]
    return len(_update(model, ids, fields, columns, alias, "NULL, NULL, NULL, NULL", "", "")) if ids and columns else 0


def update_differing(
    model: type[models.Model],
    ids: Sequence[int],
    columns: Mapping[str, Sequence[Any]],
    *,
    using: str,
    owner: str,
    shown: frozenset[str],
    flag: str | None,
) -> list[Updated]:
    """Write columns with one statement where they differ; return the rows written.

    `owner`: the column of the account. `shown`: attribute names whose difference is public. The rows are read before
    they are written, so their account must be locked.
    """
    fields = [column_of(model, name) for name in columns]
    public = [field for field in fields if field.attname in shown]
    stale = f"{_differs(public)} AS shown" if public else "false AS shown"
    stale += f', row."{column_of(model, flag).column}" AS flag' if flag else ", NULL::boolean AS flag"
    now = f'row."{column_of(model, flag).column}"' if flag else "NULL"
    rows = _update(model, ids, fields, columns, using, f'row."{owner}", stale.shown, stale.flag, {now}', stale, owner)
    return [Updated(*row) for row in rows]


def _update(
    model: type[models.Model],
    ids: Sequence[int],
    fields: Sequence[models.Field[Any, Any]],
    values: Mapping[str, Sequence[Any]],
    alias: str,
    returning: str,
    stale: str,
    owner: str,
) -> list[tuple[Any, ...]]:
    key = model._meta.pk
    assert key is not None
    columns = [_column(key, alias), *(_column(field, alias) for field in fields)]
    table, pk = f'"{model._meta.db_table}"', f'"{key.column}"'
    fresh = ", ".join(f'{column.read} AS "{column.name}"' for column in columns)
    sets = ", ".join(f'"{field.column}" = fresh."{field.column}"' for field in fields)
    differs = _differs(fields)
    sql = f"WITH fresh AS (SELECT {fresh} FROM {_unnest(columns)})"
    if owner:
        sql += (
            f", stale AS (SELECT row.{pk} AS key, {stale} FROM {table} AS row"
            f" JOIN fresh ON row.{pk} = fresh.{pk} WHERE {differs})"
            f" UPDATE {table} AS row SET {sets} FROM fresh JOIN stale ON stale.key = fresh.{pk}"
            f" WHERE row.{pk} = fresh.{pk}"
        )
    else:
        sql += f" UPDATE {table} AS row SET {sets} FROM fresh WHERE row.{pk} = fresh.{pk} AND {differs}"
    with connections[alias].cursor() as cursor:
        arrays = [columns[0].array(ids)]
        for column, field in zip(columns[1:], fields, strict=True):
            each = values[field.attname]
            if len(each) != len(ids):
                raise ValueError(f"{len(each)} values of {field.attname} for {len(ids)} rows")
            arrays.append(column.array(each))
        cursor.execute(f"{sql} RETURNING row.{pk}, {returning}", arrays)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _differs(fields: Sequence[models.Field[Any, Any]]) -> str:
    return "(" + " OR ".join(f'row."{one.column}" IS DISTINCT FROM fresh."{one.column}"' for one in fields) + ")"


def _row_of(instance: models.Model) -> Row:
    fields = instance._meta.concrete_fields
    row = {field.attname: field.pre_save(instance, add=True) for field in fields if not field.generated}
    key = instance._meta.pk
    if isinstance(key, models.AutoField) and row[key.attname] is None:
        del row[key.attname]
    return row


def _columns_to_insert(
    model: type[models.Model], rows: Sequence[Row], alias: str
) -> tuple[list[Column], list[list[Any]]]:
    names = list(rows[0])
    if any(len(row) != len(names) for row in rows):
        raise ValueError(f"rows of {model._meta.label} differ in the columns they name")
    columns = [_column(column_of(model, name), alias) for name in names]
    values = [[row[name] for row in rows] for name in names]
    for field in model._meta.concrete_fields:
        if field.attname in rows[0] or isinstance(field, models.AutoField) or field.generated or field.has_db_default():
            continue
        absent = [_default(field) for _ in rows]
        if any(value is not None for value in absent):
            columns.append(_column(field, alias))
            values.append(absent)
    return columns, values


def _default(field: models.Field[Any, Any]) -> Any:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return timezone.now()
    return field.get_default()


def column_of(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """Return the concrete field called `name`, or with it as its attribute. Raises FieldDoesNotExist."""
    try:
        return _fields_by_name(model)[name]
    except KeyError:
        raise FieldDoesNotExist(f"{model._meta.label} has no column named {name!r}") from None


@cache
def _fields_by_name(model: type[models.Model]) -> dict[str, models.Field[Any, Any]]:
    fields = model._meta.concrete_fields
    return {field.name: field for field in fields} | {field.attname: field for field in fields}


def _key_names(model: type[models.Model]) -> str:
    return ", ".join(f'"{field.column}"' for field in model._meta.pk_fields)


def _unnest(columns: Sequence[Column]) -> str:
    arrays = ", ".join(f"%s::{column.array_type}[]" for column in columns)
    names = ", ".join(f'"{column.name}"' for column in columns)
    return f"unnest({arrays}) AS given ({names})"


@cache
def _column(field: models.Field[Any, Any], alias: str) -> Column:
    connection = connections[alias]
    source = field
    while isinstance(source, models.ForeignKey):
        source = source.target_field
    assert field.column is not None
    read = f'given."{field.column}"'
    if isinstance(source, ArrayField):
        return Column(field.column, "text", f"{read}::{source.db_type(connection)}", _array_encoder(source, connection))
    array_type = source.rel_db_type(connection) if isinstance(source, models.AutoField) else source.db_type(connection)
    assert array_type is not None
    if array_type.startswith("varchar"):
        array_type = "text"
    return Column(field.column, array_type, read, _encoder(source, connection))


def _encoder(field: models.Field[Any, Any], connection: Any) -> Encode:
    """Return how a Python value of this field is written as an element of an array's text."""
    if not type(field).__module__.startswith("django."):
        return lambda value: _quoted(str(field.get_db_prep_save(value, connection)))
    if isinstance(field, models.JSONField):
        return lambda value: _quoted(json.dumps(value, cls=field.encoder))
    for types, encode in _ENCODERS:
        if isinstance(field, types):
            return encode
    return lambda value: _quoted(str(field.get_db_prep_save(value, connection)))


def _array_encoder(field: ArrayField[Any, Any], connection: Any) -> Encode:
    encode = _encoder(field.base_field, connection)

    def array(values: Iterable[Any]) -> str:
        return _quoted("{" + ",".join(["NULL" if value is None else encode(value) for value in values]) + "}")

    return array


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _integer(value: Any) -> str:
    return str(int(value))


def _boolean(value: Any) -> str:
    return "t" if value else "f"


def _moment(value: date | time) -> str:
    return value.isoformat()


def _bytes(value: bytes | memoryview) -> str:
    return '"\\\\x' + value.hex() + '"'


def _text(value: Any) -> str:
    return _quoted(value if isinstance(value, str) else str(value))


_ENCODERS: list[tuple[tuple[type[models.Field[Any, Any]], ...], Encode]] = [
    ((models.IntegerField,), _integer),
    ((models.BooleanField,), _boolean),
    ((models.DateField, models.TimeField), _moment),
    ((models.BinaryField,), _bytes),
    ((models.FloatField,), repr),
    ((models.CharField, models.TextField, models.UUIDField, models.DecimalField), _text),
]
