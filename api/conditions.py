"""Conditions on what a mail says: its subject, its addresses, its size. No index answers them: a list is walked.

That is quick where many match; where few do among very many messages, the statement's time limit ends it (503).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Func, JSONField, Q, TextField, Value

from api.errors import BadRequest
from api.parameters import Parameters

#: Addresses that one filter may name.
MAX_ADDRESSES = 25
#: A text as short as this would be in nearly every subject: it matches beginnings of words.
SHORT = 2
#: Bytes that a filter may name.
MAX_SIZE = 10**15

_COLUMNS = {
    "from": ("from_addresses",),
    "to": ("to_addresses",),
    "cc": ("cc_addresses",),
    "bcc": ("bcc_addresses",),
    "any_email": ("from_addresses", "to_addresses", "cc_addresses", "bcc_addresses"),
}
#: Filters read here, of messages and drafts; of threads all but the sizes.
CONTENT_FILTERS = frozenset({"subject", "size_min", "size_max", *_COLUMNS})
THREAD_CONTENT_FILTERS = CONTENT_FILTERS - {"size_min", "size_max"}


class _Joined(Func):
    """Lists of addresses as one."""

    template = "%(expressions)s"
    arg_joiner = " || "
    output_field = JSONField()


class _Names(Func):
    """Whether a list of addresses names one of some emails, which are in lower case."""

    template = "EXISTS (SELECT FROM jsonb_array_elements(%(expressions)s))"
    arg_joiner = ") one WHERE lower(one ->> 'email') = ANY ("
    output_field = BooleanField()


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail must say; None, or empty: anything."""

    subject: str | None = None
    #: Name of the filter -> emails in lower case, any of them.
    addresses: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: Bytes of the raw message, both included.
    size_min: int | None = None
    size_max: int | None = None

    @classmethod
    def of(cls, parameters: Parameters) -> Content:
        """Read the filters. Raises BadRequest."""
        return cls(
            subject=parameters.text("subject"),
            addresses=tuple((name, emails) for name in _COLUMNS if (emails := _emails(parameters, name))),
            size_min=_bytes(parameters, "size_min"),
            size_max=_bytes(parameters, "size_max"),
        )

    def __bool__(self) -> bool:
        return self != ANY_CONTENT

    def each_address(self) -> list[Content]:
        """The conditions on addresses alone, each by itself: several messages of a thread may meet them together."""
        return [Content(addresses=(one,)) for one in self.addresses]

    def of_message(self) -> Q:
        """The condition on a message."""
        condition = self.of_subject() & Q(**self._sizes())
        for name, emails in self.addresses:
            wanted = Value(list(emails), output_field=ArrayField(TextField()))
            condition &= Q(_Names(_Joined(*_COLUMNS[name]), wanted))
        return condition

    def of_subject(self) -> Q:
        """The condition on the subject of a message or a thread, in any case."""
        if self.subject is None:
            return Q()
        if len(self.subject) <= SHORT:
            return Q(subject__iregex=rf"\m{re.escape(self.subject)}")
        return Q(subject__icontains=self.subject)

    def _sizes(self) -> dict[str, Any]:
        sizes = {"size__gte": self.size_min, "size__lte": self.size_max}
        return {lookup: size for lookup, size in sizes.items() if size is not None}


ANY_CONTENT = Content()


def _emails(parameters: Parameters, name: str) -> tuple[str, ...]:
    words = parameters.words(name)
    if len(words) > MAX_ADDRESSES:
        raise BadRequest(f"{name}: {len(words)} values; allowed: at most {MAX_ADDRESSES}")
    if any("\0" in word for word in words):
        raise BadRequest(f"{name}: holds a NUL character")
    return tuple(word.lower() for word in words)


def _bytes(parameters: Parameters, name: str) -> int | None:
    # -1 is outside what is allowed: absent
    size = parameters.integer(name, -1, least=0, most=MAX_SIZE)
    return None if size < 0 else size
