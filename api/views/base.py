"""What all views share: keys, scopes, JSON in and out, the grant of the path and its shard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, ClassVar, cast

from django.http.response import HttpResponseBase
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import JSONParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import ApiKey
from api.auth import ApiKeyAuthentication, HasScope, find_grant
from api.cursors import Position, decode_page_token, encode_page_token
from api.errors import BadRequest, answer_error
from api.parameters import Parameters
from api.wire import Wire
from project.shards import on_shard


class JsonOnly(BaseContentNegotiation):
    """Answer JSON whatever `Accept` says: SDKs, browsers and curl ask for different things and want the same."""

    def select_parser(self, request: Request, parsers: Iterable[Any]) -> Any:
        """JSON where the caller named no type, or named it; None: refused with 415."""
        given = request.content_type.partition(";")[0].strip().lower()
        return next(iter(parsers)) if given in ("", "application/json") else None

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """JSON."""
        return next(iter(renderers)), "application/json"


class StrictJsonParser(JSONParser):
    """JSON that does not nest without end."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        """Parse; too deep nesting is malformed as well."""
        try:
            return super().parse(*args, **kwargs)
        except RecursionError:
            raise BadRequest("the body nests too deeply") from None


class ApiView(APIView):
    """A view behind an API key. `scopes` says what a key needs for a method."""

    authentication_classes = [ApiKeyAuthentication]
    permission_classes = [HasScope]
    renderer_classes = [JSONRenderer]
    parser_classes = [StrictJsonParser]
    content_negotiation_class = JsonOnly
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]

    #: Method -> scope; what is not named needs `read` to get and `write` for the rest.
    scopes: ClassVar[Mapping[str, str]] = {}

    def scope_of(self, method: str | None) -> str:
        """Return the scope that a method needs."""
        return self.scopes.get(method or "", "read" if method in ("GET", "HEAD") else "write")

    def get_exception_handler(self) -> Callable[..., Any]:
        """Errors are answered in the envelope."""
        return answer_error

    @property
    def key(self) -> ApiKey:
        """The key of the caller."""
        return cast(ApiKey, self.request.auth)

    @cached_property
    def parameters(self) -> Parameters:
        """The query of the request."""
        return Parameters.of(self.request.query_params)

    @property
    def body(self) -> Wire:
        """The JSON object of the request; raises BadRequest where it is something else."""
        if not isinstance(self.request.data, dict):
            raise BadRequest("the body must be a JSON object")
        return self.request.data

    def answer(self, data: Any, *, status: int = 200, **beside: Any) -> Response:
        """Answer with the envelope; `beside` stands beside `data`."""
        return Response({"request_id": self.request_id, "data": data, **beside}, status=status)

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return str(self.request.request_id)  # type: ignore[attr-defined]


class GrantView(ApiView):
    """A view below `/v3/grants/{grant}`: the grant is the caller's, and its shard is at hand."""

    account_id: int
    _open: ExitStack

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Handle the request with the shard at hand, once `initial` has found the grant."""
        with ExitStack() as self._open:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the key, then find the grant. Raises NotFound."""
        super().initial(request, *args, **kwargs)
        self.account_id = find_grant(self.key, kwargs["grant"]).account_id
        self._open.enter_context(on_shard(self.account_id))


class ListPage:
    """One page of a list of an account: where it begins, how long it is, how it is answered."""

    def __init__(
        self, account_id: int, name: str, parameters: Parameters, *, filters: frozenset[str], limit: int
    ) -> None:
        """Read `limit` and `page_token`; `name` is the list's, `filters` the parameters that narrow it."""
        token = parameters.token("page_token")
        self._account_id = account_id
        self._name = name
        self.limit = limit
        self.after: Position | None = None
        if token is not None:
            self.after = decode_page_token(account_id, name, token)
            parameters = parameters.over(self.after.filters)
        #: With the filters of the first page, where a later one leaves them out.
        self.parameters = parameters
        self._filters = parameters.named(filters)

    def next_cursor(self, rows: Sequence[Any], date: str | None) -> str | None:
        """Return the token behind this page; None at the end. `rows`: up to one more than the page has."""
        if len(rows) <= self.limit:
            return None
        last = rows[self.limit - 1]
        moment = None if date is None else getattr(last, date)
        return encode_page_token(self._account_id, self._name, Position(last.pk, moment, self._filters))
