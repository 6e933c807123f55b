"""The change log of a grant."""

from __future__ import annotations

from collections.abc import Collection

from rest_framework.request import Request
from rest_framework.response import Response

from api import changes
from api.errors import BadRequest
from api.openapi import operations as openapi
from api.openapi.schemas import BOOLEAN, TEXT, Schema, array, closed, reference
from api.parameters import Parameters
from api.views.base import GrantView

PARAMETERS = [
    openapi.GRANT,
    openapi.query("since", TEXT, "A cursor; absent: the oldest change kept."),
    openapi.words("types", "Types to show; notice only when named.", {"enum": list(changes.TYPES)}),
    openapi.limit(changes.DEFAULT_LIMIT, changes.MAX_LIMIT),
    openapi.query(
        "wait",
        {"type": "number", "minimum": 0, "maximum": changes.MAX_WAIT, "default": 0},
        "Seconds to wait for the first change.",
    ),
    openapi.query("include", {"enum": ["object"]}, "Show each object as it is now; null when it is gone."),
]
PLACE: dict[str, Schema] = {
    "next_cursor": {"type": "string", "description": "Where to go on; always there."},
    "has_more": BOOLEAN,
    "complete": {"type": "boolean", "description": "Without `since`: nothing was pruned yet."},
}


def types_of(parameters: Parameters) -> Collection[str] | None:
    """Return the types asked for; None: every object."""
    words = parameters.words("types")
    unknown = [word for word in words if word not in changes.TYPES]
    if unknown:
        raise BadRequest(f"types: {unknown[0]!r}; allowed: {', '.join(changes.TYPES)}")
    return frozenset(words) or None


class ChangeList(GrantView):
    """G/changes."""

    @openapi.operation(
        "Read the change log",
        id="listChanges",
        tag="Changes",
        description="Extension. Exact commit order; each object once a page, at the place of its last change.",
        data=array(reference("Change")),
        beside=PLACE,
        optional=["complete"],
        parameters=PARAMETERS,
        errors=[410],
    )
    def get(self, request: Request, grant: str) -> Response:
        """Answer a page of changes, waiting for the first where asked to."""
        given = self.parameters
        since = given.token("since")
        page = changes.changes_page(
            self.account_id,
            since=since,
            types=types_of(given),
            limit=given.limit(changes.DEFAULT_LIMIT, changes.MAX_LIMIT),
            wait=given.seconds("wait", 0, most=changes.MAX_WAIT),
            objects=given.choice("include", "", ("", "object")) == "object",
        )
        beside = {} if since is not None else {"complete": page.complete}
        return self.answer(page.changes, next_cursor=page.next_cursor, has_more=page.has_more, **beside)


class LatestChange(GrantView):
    """G/changes/latest."""

    @openapi.operation(
        "Tell the newest place in the change log",
        id="latestChange",
        tag="Changes",
        description="Extension. Taken before a first full crawl, crawl and replay from it lose nothing.",
        data=closed(["cursor"], {"cursor": TEXT}, "The position now."),
        parameters=[openapi.GRANT],
    )
    def get(self, request: Request, grant: str) -> Response:
        """Answer the position now."""
        return self.answer({"cursor": changes.latest_cursor(self.account_id)})
