"""Moments as support staff read them."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60))


def span(seconds: float) -> str:
    """Tell a duration in its largest unit: 12 s, 5 min, 3 h, 2 d."""
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def ago(moment: datetime) -> str:
    """Tell how long ago a moment was."""
    return span(max((timezone.now() - moment).total_seconds(), 0))


def due(moment: datetime | None) -> str:
    """Tell when something is due: `in 5 s`, `overdue 2 min`; None: it is not."""
    if moment is None:
        return "not scheduled"
    wait = (moment - timezone.now()).total_seconds()
    return f"in {span(wait)}" if wait >= 0 else f"overdue {span(-wait)}"
