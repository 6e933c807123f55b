"""The words of the log, kept as small integers: what changed, and how (api.md 12.1)."""

from __future__ import annotations

from django.db import models


class ObjectType(models.IntegerChoices):
    """The type of a public object; `label` is the word of the wire. Numbers are stored: never give one away again."""

    MESSAGE = 1, "message"
    THREAD = 2, "thread"
    FOLDER = 3, "folder"
    DRAFT = 4, "draft"
    CONTACT = 5, "contact"
    CALENDAR = 6, "calendar"
    EVENT = 7, "event"
    GRANT = 8, "grant"
    NOTICE = 9, "notice"


class Kind(models.IntegerChoices):
    """What happened to it; `label` is the word of the wire."""

    CREATED = 1, "created"
    UPDATED = 2, "updated"
    DELETED = 3, "deleted"


#: The word of the wire -> its object type.
OBJECT_TYPES = {one.label: one for one in ObjectType}
