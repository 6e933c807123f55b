"""Grants: connecting a mailbox, finding the connected ones, removing one; and the application that has them."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Account, Application, GrantDirectory, Status
from api.connecting import changed_settings, connect_request
from api.errors import NotFound
from api.idempotency import idempotent
from api.objects import show_grants
from api.openapi import operations as openapi
from api.openapi.schemas import COUNT, MOMENT, TEXT, array, reference
from api.views.base import ApiView, GrantView
from api.wire import Wire, application_wire
from project.shards import on_shard, shard_of
from sync.services.changing import change_account
from sync.services.connecting import connect_account
from sync.services.removal import disconnect_account

#: Grants on a page, unless the caller says otherwise.
DEFAULT_LIMIT = 10
MAX_OFFSET = 1_000_000

LIST_PARAMETERS = [
    openapi.query("email", TEXT, "Of this address."),
    openapi.query("provider", TEXT, "Of this provider."),
    openapi.query("ip", TEXT, "Connected from this address: none is known, so none is found."),
    openapi.query("grant_status", {"enum": list(Status.values)}, "Of this status."),
    openapi.query("since", MOMENT, "Connected then or later, in unix seconds."),
    openapi.query("before", MOMENT, "Connected earlier, in unix seconds."),
    openapi.query("sort_by", {"enum": ["created_at", "updated_at"], "default": "created_at"}, "The order."),
    openapi.query("order_by", {"enum": ["asc", "desc"], "default": "desc"}, "Its direction."),
    openapi.limit(DEFAULT_LIMIT),
    openapi.query("offset", {"type": "integer", "minimum": 0, "default": 0}, "How many to pass over."),
]


#: What PATCH and PUT do.
#: How PATCH and PUT are described, which do the same.
CHANGE: dict[str, Any] = {
    "tag": "Grants",
    "description": "What concerns a login is proven by logging in, within 20 s; nothing is stored when that fails. An"
    " invalid grant whose new login works is valid again.",
    "parameters": [openapi.GRANT],
    "body": "UpdateGrant",
    "errors": [409, 413, 415],
}


def show_grant(account_id: int) -> Wire:
    """Return one grant on the wire. Raises NotFound."""
    with on_shard(account_id):
        account = Account.objects.filter(pk=account_id).first()
        if account is None:
            raise NotFound("no such grant")
        return show_grants([account])[0]


class GrantList(ApiView):
    """/v3/grants."""

    @openapi.operation(
        "List grants",
        id="listGrants",
        tag="Grants",
        data=array(reference("Grant")),
        beside={"limit": COUNT, "offset": COUNT},
        parameters=LIST_PARAMETERS,
        errors=[400],
    )
    def get(self, request: Request) -> Response:
        """Answer a page of the application's grants, newest first unless told otherwise."""
        given = self.parameters
        limit = given.limit(DEFAULT_LIMIT)
        offset = given.integer("offset", 0, least=0, most=MAX_OFFSET)
        rows = self._narrowed()[offset : offset + limit]
        shown = self._shown(list(rows.values_list("account_id", flat=True)))
        return self.answer(shown, limit=limit, offset=offset)

    def _narrowed(self) -> QuerySet[GrantDirectory]:
        given = self.parameters
        rows = GrantDirectory.objects.filter(application_id=self.key.application_id)
        if (email := given.word("email")) is not None:
            rows = rows.filter(email=email.lower())
        if (provider := given.word("provider")) is not None:
            rows = rows.filter(provider=provider)
        if given.word("ip") is not None:
            # grants are connected through the API: no address of their owner is known
            rows = rows.none()
        if status := given.choice("grant_status", "", ("", *Status.values)):
            rows = rows.filter(status=status)
        if (since := given.moment("since")) is not None:
            rows = rows.filter(created_at__gte=since)
        if (before := given.moment("before")) is not None:
            rows = rows.filter(created_at__lt=before)
        column = given.choice("sort_by", "created_at", ("created_at", "updated_at"))
        sign = "" if given.choice("order_by", "desc", ("asc", "desc")) == "asc" else "-"
        return rows.order_by(f"{sign}{column}", f"{sign}account_id")

    @staticmethod
    def _shown(account_ids: list[int]) -> list[Wire]:
        """Load grants from their shards, and return them in the order given."""
        of_shard: dict[int, list[int]] = defaultdict(list)
        for account_id in account_ids:
            of_shard[shard_of(account_id)].append(account_id)
        shown: dict[str, Wire] = {}
        for shard, ids in of_shard.items():
            with on_shard(shard=shard):
                shown |= {one["id"]: one for one in show_grants(list(Account.objects.filter(pk__in=ids)))}
        return [shown[str(pk)] for pk in account_ids if str(pk) in shown]


class GrantDetail(GrantView):
    """/v3/grants/{grant}."""

    scopes: ClassVar = {"PUT": "admin", "PATCH": "admin", "DELETE": "admin"}

    @openapi.one("Grant", "Find a grant", id="findGrant", tag="Grants", parameters=[openapi.GRANT])
    def get(self, request: Request, grant: str) -> Response:
        """Answer one grant."""
        return self.answer(show_grant(self.account_id))

    @openapi.one("Grant", "Change the settings of a grant", id="updateGrant", **CHANGE)
    def patch(self, request: Request, grant: str) -> Response:
        """Change settings, proven by logging in where a login is concerned; answer the grant."""
        change_account(account_id=self.account_id, changes=changed_settings(self.body))
        return self.answer(show_grant(self.account_id))

    @openapi.one("Grant", "Change the settings of a grant (as PATCH)", id="replaceGrant", **CHANGE)
    def put(self, request: Request, grant: str) -> Response:
        """Do what PATCH does."""
        return self.patch(request, grant)

    @openapi.operation(
        "Remove a grant with all its mail",
        id="deleteGrant",
        tag="Grants",
        description="It is gone at once; its mail is deleted in the background.",
        parameters=[openapi.GRANT],
    )
    def delete(self, request: Request, grant: str) -> Response:
        """Remove the account with all its mail."""
        disconnect_account(account_id=self.account_id)
        return Response({"request_id": self.request_id})


class ConnectCustom(ApiView):
    """/v3/connect/custom."""

    scopes: ClassVar = {"POST": "admin"}

    @openapi.one(
        "Grant",
        "Connect a mailbox",
        id="connectCustom",
        tag="Grants",
        description="Logs in to prove it, within 20 s; nothing is stored when that fails.",
        parameters=[openapi.IDEMPOTENCY_KEY],
        body="ConnectCustom",
        status=201,
        errors=[413, 415],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Prove the login, store the account, start mirroring it; the same email again is the same grant."""
        account_id = connect_account(application_id=self.key.application_id, request=connect_request(self.body))
        return self.answer(show_grant(account_id), status=201)


class ApplicationDetail(ApiView):
    """/v3/applications."""

    @openapi.one("Application", "Find the application of the key", id="getApplication", tag="Grants")
    def get(self, request: Request) -> Response:
        """Answer the application of the key."""
        return self.answer(application_wire(Application.objects.get(pk=self.key.application_id)))
