"""What the database itself keeps: no write to a logged table past the lock, and ids that tell their shard.

Three statement triggers on each logged table compare the rows written with the setting `mail.locked`, which
`lock_account` makes. Identities of sharded models begin, and end, within their shard. Both are brought up to date
after every migration of every database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import AppConfig, apps
from django.db import connections, models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.signals import post_migrate

from accounts.changelog.rows import column_of
from project.shards import id_range, is_sharded, shard_at


def function_of(owner: str) -> str:
    """Return the name of the guards' function for tables whose account is in column `owner`."""
    return f"mail_refuse_unlogged_{owner}"


def _function(owner: str) -> str:
    """Write that function; one a column, so that its statements are planned once, not each time.

    An UPDATE is checked on both sides: a row cannot change its account unseen.
    """
    return f"""
CREATE OR REPLACE FUNCTION {function_of(owner)}() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
    named text := current_setting('mail.locked', true);
    locked bigint[];
    stranger bigint;
BEGIN
    IF named = '*' THEN
        RETURN NULL;
    END IF;
    locked := string_to_array(coalesce(named, ''), ',');
    IF TG_OP <> 'DELETE' THEN
        SELECT {owner} INTO stranger FROM became WHERE {owner} <> ALL (locked) LIMIT 1;
    END IF;
    IF TG_OP <> 'INSERT' AND stranger IS NULL THEN
        SELECT {owner} INTO stranger FROM was WHERE {owner} <> ALL (locked) LIMIT 1;
    END IF;
    IF stranger IS NOT NULL THEN
        RAISE EXCEPTION '% of % past the transaction log: account % is not locked', TG_OP, TG_TABLE_NAME, stranger
            USING HINT = 'Write through the queryset of the model, inside lock_account(account_id) or'
                ' allow_unlogged(reason). A restore of data alone needs pg_restore --disable-triggers.';
    END IF;
    RETURN NULL;
END
$guard$
"""


_OPERATIONS = {
    "INSERT": "REFERENCING NEW TABLE AS became",
    "UPDATE": "REFERENCING OLD TABLE AS was NEW TABLE AS became",
    "DELETE": "REFERENCING OLD TABLE AS was",
}


def trigger_name(operation: str) -> str:
    """Return the name of the guard of INSERT, UPDATE or DELETE."""
    return f"mail_guard_{operation.lower()}"


def install(models_of_database: Iterable[type[models.Model]], alias: str) -> None:
    """Bring guards and identities of these models up to date; what is right already is not touched, nor locked."""
    from accounts.changelog.logged import LoggedModel

    connection = connections[alias]
    shard = shard_at(alias)
    tables = [model for model in models_of_database if is_sharded(model)]
    if not tables:
        return
    present = set(connection.introspection.table_names())
    tables = [model for model in tables if model._meta.db_table in present]
    logged = [model for model in tables if issubclass(model, LoggedModel)]
    with connection.cursor() as cursor:
        if logged:
            _guard(cursor, logged)
        if shard is not None:
            _place_identities(cursor, tables, shard)


def _guard(cursor: Any, logged: Iterable[Any]) -> None:
    cursor.execute(
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE t.tgname LIKE 'mail_guard_%' AND c.relnamespace = current_schema()::regnamespace"
    )
    found = set(cursor.fetchall())
    for owner in sorted({_owner_column(one) for one in logged}):
        cursor.execute(_function(owner))
    for model in logged:
        table, owner = model._meta.db_table, _owner_column(model)
        for operation, tables in _OPERATIONS.items():
            if (table, trigger_name(operation)) not in found:
                cursor.execute(
                    f'CREATE TRIGGER {trigger_name(operation)} AFTER {operation} ON "{table}" {tables}'
                    f" FOR EACH STATEMENT EXECUTE FUNCTION {function_of(owner)}()"
                )


def _owner_column(model: Any) -> str:
    return str(column_of(model, model.owner_field()).column)


def _place_identities(cursor: Any, tables: Iterable[type[models.Model]], shard: int) -> None:
    first, last = id_range(shard)
    cursor.execute(
        "SELECT c.relname, a.attname, s.seqstart, s.seqmin, s.seqmax FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_sequence s ON s.seqrelid = pg_get_serial_sequence(quote_ident(c.relname), a.attname)::regclass"
        " WHERE a.attidentity <> '' AND c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace"
    )
    identities = {(table, column): tuple(place) for table, column, *place in cursor.fetchall()}
    for model in tables:
        key = model._meta.pk
        table, column = model._meta.db_table, key.column
        place = identities.get((table, column))
        if place is None or place == (first, first, last):
            continue
        # the counter itself is moved only where it lies outside: in shard 0 it goes on
        restart = "" if place[:1] == (first,) else f" RESTART WITH {first}"
        cursor.execute(
            f'ALTER TABLE "{table}" ALTER COLUMN "{column}"'
            f" SET START WITH {first} SET MINVALUE {first} SET MAXVALUE {last}{restart}"
        )


def _after_migrate(app_config: AppConfig, using: str, **_signal: object) -> None:
    connection: BaseDatabaseWrapper = connections[using]
    # historical app configs are not ours: the models of today say what is logged
    if connection.vendor != "postgresql" or app_config.label not in {one.label for one in apps.get_app_configs()}:
        return
    current = apps.get_app_config(app_config.label)
    install([one for one in current.get_models() if router.allow_migrate_model(using, one)], using)


post_migrate.connect(_after_migrate, dispatch_uid="accounts.changelog.guards")
