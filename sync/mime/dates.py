"""The Date header, in all the ways it is written (RFC 5322 3.3 and 4.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz

_USUAL = re.compile(
    r"\s*(?:[A-Za-z]{3},\s*)?(\d{1,2})\s+([A-Za-z]{3})\s+(\d{4})\s+(\d{2}):(\d{2})(?::(\d{2}))?\s+([+-])(\d{2})(\d{2})\b"
)
_COMMENT = re.compile(r"\([^()]*\)")
_MONTHS = {
    month: number
    for number, month in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1
    )
}


def parse_date(text: str) -> datetime | None:
    """Return the time in UTC, storable anywhere; None when it cannot be read or no calendar holds it."""
    found = _USUAL.match(text)
    try:
        moment = _from_usual(found) if found else _from_odd(text)
    except (ValueError, OverflowError, LookupError, TypeError):  # parsedate_tz raises some of them, too
        return None
    # A day at either end is kept free: clients turn what they read into their own time zone.
    return moment if moment is not None and 1 < moment.year < 9999 else None


def _from_usual(found: re.Match[str]) -> datetime:
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes))
    local = datetime(
        int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=UTC
    )
    return local + offset if sign == "-" else local - offset


def _from_odd(text: str) -> datetime | None:
    parsed = parsedate_tz(_COMMENT.sub(" ", text[:200]))
    if parsed is None:
        return None
    offset = timezone(timedelta(seconds=parsed[9] or 0))
    year, month, day, hour, minute, second = parsed[:6]
    return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=offset).astimezone(UTC)
