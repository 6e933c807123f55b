"""Query parameters as the SDKs send them, read strictly: what has the wrong shape is refused by name.

`None` and `undefined`, which SDKs send for what their caller left out, count as absent where a type is expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.http import QueryDict

from api.errors import BadRequest
from api.ids import parse_id

_ABSENT = frozenset({"None", "undefined", "null"})
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,9})?")
#: Unix seconds of the years 1 to 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799

#: Objects on a page, unless the resource or the caller says otherwise, and at most.
DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class Parameters:
    """The parameters of one request. Every reader raises BadRequest naming the parameter."""

    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        self._given = given

    @classmethod
    def of(cls, query: QueryDict) -> Parameters:
        """Read a query string."""
        return cls(dict(query.lists()))

    def named(self, names: frozenset[str]) -> dict[str, list[str]]:
        """Return the raw values of those of `names` that are given."""
        return {name: list(values) for name, values in self._given.items() if name in names and self._last(name)}

    def over(self, given: Mapping[str, Sequence[str]]) -> Parameters:
        """Return these parameters, and those of `given` where these say nothing."""
        return Parameters({**given, **self._given})

    def text(self, name: str) -> str | None:
        """Return a text as it is, also where it is one of those words; None: absent or empty."""
        value = self._given.get(name, [""])[-1]
        if "\0" in value:
            raise BadRequest(f"{name}: holds a NUL character")
        return value or None

    def word(self, name: str) -> str | None:
        """Return a text that cannot be one of the words for nothing; None: absent or empty."""
        return None if self._last(name) is None else self.text(name)

    def token(self, name: str) -> str | None:
        """Return an opaque text that we made; None: absent."""
        return self._last(name) or None

    def boolean(self, name: str) -> bool | None:
        """Return true or false, however it is spelled; None: absent."""
        value = self._last(name)
        if value is None:
            return None
        if value.lower() not in _BOOLEANS:
            raise BadRequest(f"{name}={value!r}: allowed: true, false")
        return _BOOLEANS[value.lower()]

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        """Return a whole number between `least` and `most`, both included."""
        value = self._last(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value) or not least <= int(value) <= most:
            raise BadRequest(f"{name}={value!r}: allowed: a whole number from {least} to {most}")
        return int(value)

    def limit(self, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> int:
        """Return how many objects the page may have."""
        return self.integer("limit", default, least=1, most=most)

    def seconds(self, name: str, default: float, *, most: float) -> float:
        """Return a duration between 0 and `most`, fractions allowed."""
        value = self._last(name)
        if value is None:
            return default
        if not _NUMBER.fullmatch(value) or not 0 <= float(value) <= most:
            raise BadRequest(f"{name}={value!r}: allowed: seconds from 0 to {most:g}")
        return float(value)

    def moment(self, name: str) -> datetime | None:
        """Return a moment given as unix seconds; None: absent."""
        if self._last(name) is None:
            return None
        return datetime.fromtimestamp(self.integer(name, 0, least=_FIRST_SECOND, most=_LAST_SECOND), UTC)

    def words(self, name: str) -> list[str]:
        """Return a list: the parameter repeated, or comma-separated, or both; empty: absent."""
        values = [value for value in self._given.get(name, []) if value not in _ABSENT]
        return [word.strip() for value in values for word in value.split(",") if word.strip()]

    def choice(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """Return one of the words allowed."""
        value = self._last(name) or default
        if value not in allowed:
            raise BadRequest(f"{name}={value!r}: allowed: {', '.join(allowed)}")
        return value

    def object_id(self, name: str) -> int | None:
        """Return an id, 0 where nothing can have the id given; None: absent."""
        value = self._last(name)
        return None if not value else parse_id(value)

    def object_ids(self, name: str, *, most: int) -> list[int]:
        """Return ids without doubles, 0 for what no object can have; empty: absent."""
        found = list(dict.fromkeys(parse_id(word) for word in self.words(name)))
        if len(found) > most:
            raise BadRequest(f"{name}: {len(found)} values; allowed: at most {most}")
        return found

    def _last(self, name: str) -> str | None:
        values = [value for value in self._given.get(name, []) if value not in _ABSENT]
        return values[-1] if values else None


def select_fields(parameters: Parameters) -> frozenset[str] | None:
    """Return the top-level fields asked for by `select`, with those that SDKs need; None: all."""
    words = parameters.words("select")
    return frozenset({"id", "grant_id", "object", *words}) if words else None
