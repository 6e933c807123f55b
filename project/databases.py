"""Whether a database is fit for us: it must know letters outside ASCII, and have the extensions we search with."""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections

#: What a database must be made with. In the locale C, letters outside ASCII have neither cases nor trigrams.
REMEDY = "make one with: CREATE DATABASE mailmirror ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"

#: The oldest PostgreSQL that we run on, as `server_version_num` has it.
OLDEST = 150000


def fault_of(alias: str, *, prepare: bool = False) -> str | None:
    """Return in one line what is wrong with a database; None: nothing. `prepare`: install what is missing in it."""
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int, pg_encoding_to_char(encoding) "
                           "FROM pg_database WHERE datname = current_database()")  # fmt: skip
            version, encoding = cursor.fetchone()
            if version < OLDEST:
                return f"PostgreSQL {version // 10000} is too old: 15 or newer is needed"
            if encoding != "UTF8":
                return f"its encoding is {encoding}, not UTF8; {REMEDY}"
            if prepare:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            cursor.execute("SELECT lower('É') = 'é', cardinality(show_trgm('Ж')) > 0")
            if cursor.fetchone() != (True, True):
                return f"its locale knows only the letters of ASCII; {REMEDY}"
    except DatabaseError as error:
        return first_line(error)
    return None


def refuse_unfit() -> None:
    """Raise ImproperlyConfigured with one line when a database cannot be used."""
    for alias in connections:
        fault = fault_of(alias, prepare=True)
        if fault is not None:
            raise ImproperlyConfigured(f"{variable_of(alias)}: the database cannot be used: {fault}")


def variable_of(alias: str) -> str:
    """Return the setting that names a database."""
    return "DATABASE_URL" if alias == "default" else f"{alias.upper()}_URL"


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
