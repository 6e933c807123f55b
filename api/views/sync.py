"""How far the mirror is, and asking for a pass."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account
from api.errors import NotFound
from api.idempotency import idempotent
from api.openapi import operations as openapi
from api.openapi.schemas import COUNT, closed
from api.views.base import GrantView
from api.wire import sync_wire
from sync.models import AccountSync
from sync.services.progress import sync_progress
from sync.services.schedule import request_pass


class SyncView(GrantView):
    """G/sync."""

    @openapi.one(
        "Sync",
        "Tell how far the mirror is",
        id="getSync",
        tag="Sync",
        description="Extension.",
        parameters=[openapi.GRANT],
    )
    def get(self, request: Request, grant: str) -> Response:
        """Answer how far the mirror is."""
        try:
            return self.answer(sync_wire(sync_progress(self.account_id)))
        except Account.DoesNotExist:
            raise NotFound("no such grant") from None

    @openapi.operation(
        "Ask for a comparison with the server now",
        id="requestSync",
        tag="Sync",
        description="Extension. `completed` of GET reaches the number answered once the pass is committed.",
        data=closed(["requested"], {"requested": COUNT}, "The number of the request."),
        status=202,
        parameters=[openapi.GRANT, openapi.IDEMPOTENCY_KEY],
        errors=[413, 415],
    )
    @idempotent
    def post(self, request: Request, grant: str) -> Response:
        """Ask for a comparison with the server now; answer its number."""
        try:
            return self.answer({"requested": request_pass(account_id=self.account_id)}, status=202)
        except AccountSync.DoesNotExist:
            raise NotFound("no such grant") from None
