"""How a view describes its operations: decorators that drf-spectacular reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from api.openapi.schemas import BOOLEAN, ID, MOMENT, TEXT, Schema, array, closed, reference

View = TypeVar("View", bound=Callable[..., Any])
Parameter = OpenApiParameter
Parameters = Iterable[OpenApiParameter]

GRANT = OpenApiParameter(
    "grant",
    TEXT,
    OpenApiParameter.PATH,
    description="The grant's id, `grant:<id>`, its email, or `email:<address>`.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 256},
    OpenApiParameter.HEADER,
    description="A name for this request: asked again within an hour, it is answered the same, with the header"
    " `Idempotent-Response: true`, and nothing is done twice. Errors are not kept.",
)
JSON = "application/json"
BINARY: Schema = {"type": "string", "format": "binary"}
#: Errors that any operation may answer, and those that need a reason of their own.
_ERRORS = {
    400: "A parameter or the body is not what it must be; the message names it.",
    401: "There is no valid API key.",
    403: "The key lacks the scope.",
    404: "Unknown, or another application's.",
    409: "The Idempotency-Key named another request, or this one is being worked on; or another changed the same.",
    410: "The cursor is older than the log reaches back.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    416: "The range lies outside the message.",
    503: "The account is busy, or the query would take too long; Retry-After says when to try again.",
}


def path_id(name: str, description: str) -> OpenApiParameter:
    """Return an id in the path."""
    return OpenApiParameter(name, ID, OpenApiParameter.PATH, description=description)


def query(name: str, schema: Schema, description: str, *, required: bool = False) -> OpenApiParameter:
    """Return a parameter of the query string."""
    return OpenApiParameter(name, schema, OpenApiParameter.QUERY, required=required, description=description)


def words(name: str, description: str, items: Schema = TEXT) -> OpenApiParameter:
    """Return a list in the query string: repeated, or comma-separated."""
    return query(name, array(items), f"{description} Repeated, or comma-separated.")


def limit(default: int, most: int = 200) -> OpenApiParameter:
    """Return `limit`."""
    schema = {"type": "integer", "minimum": 1, "maximum": most, "default": default}
    return query("limit", schema, "Objects on a page, at most.")


PAGE_TOKEN = query("page_token", TEXT, "The `next_cursor` of the page before; filters may be left out with it.")
SELECT = words("select", "Top-level fields to show; `id`, `grant_id` and `object` always are.")


_ADDRESSES = {"from": "From", "to": "To", "cc": "Cc", "bcc": "Bcc", "any_email": "any of the four"}
_SIZE: Schema = {"type": "integer", "minimum": 0}
SIZES = [
    query("size_min", _SIZE, "Extension. Raw messages of at least so many bytes."),
    query("size_max", _SIZE, "Extension. Raw messages of at most so many bytes."),
]


def mail_filters(after: str, before: str) -> list[OpenApiParameter]:
    """Return the filters of lists of messages, drafts and threads."""
    return [
        words("in", "Folders that hold a copy, any of them.", ID),
        words("not_in", "Extension. Folders of which none holds a copy.", ID),
        query("subject", TEXT, "Part of the subject, in any case; up to two characters: the beginning of a word."),
        *(words(name, f"Emails in {field}, any of them, at most 25.") for name, field in _ADDRESSES.items()),
        query("unread", BOOLEAN, "No copy has \\Seen."),
        query("starred", BOOLEAN, "Any copy has \\Flagged."),
        query("has_attachment", BOOLEAN, "Has attachments that are not shown inside the body."),
        query("thread_id", ID, "Of one thread."),
        query(after, MOMENT, "Later than this, in unix seconds."),
        query(before, MOMENT, "Earlier than this, in unix seconds."),
    ]


def _enveloped(data: Schema | None, beside: dict[str, Schema], optional: Iterable[str]) -> Schema:
    properties = {"request_id": TEXT, **({} if data is None else {"data": data}), **beside}
    return closed([name for name in properties if name not in set(optional)], properties, "")


def one(name: str, summary: str, **more: Any) -> Callable[[View], View]:
    """Describe an operation that answers one object of the component `name`."""
    return operation(summary, data=reference(name), **more)


def many(name: str, summary: str, **more: Any) -> Callable[[View], View]:
    """Describe an operation that answers a page of objects of the component `name`."""
    cursor = {"type": ["string", "null"], "description": "The `page_token` of the next page; null at the end."}
    return operation(summary, data=array(reference(name)), beside={"next_cursor": cursor}, **more)


def operation(
    summary: str,
    *,
    id: str,
    tag: str,
    data: Schema | None = None,
    beside: dict[str, Schema] | None = None,
    optional: Iterable[str] = (),
    status: int = 200,
    parameters: Parameters = (),
    body: str | None = None,
    errors: Iterable[int] = (),
    raw: str | None = None,
    partial: Iterable[int] = (),
    public: bool = False,
    description: str = "",
) -> Callable[[View], View]:
    """Describe one operation.

    `data`: what the envelope carries, None: nothing; `beside`: what stands beside it, of which `optional` may be
    absent; `raw`: the media type of an answer that is no envelope; `partial`: further statuses of such an
    answer; `errors`: statuses beyond those of every operation; `public`: it needs no key.
    """
    parameters = list(parameters)
    answer = data if raw is not None else _enveloped(data, beside or {}, optional)
    responses: dict[Any, Any] = {
        (code, raw or JSON): OpenApiResponse(answer, description=summary) for code in (status, *partial)
    }
    common = set() if public else {401, 403, 503} | ({400, 404} if GRANT in parameters else set())
    if IDEMPOTENCY_KEY in parameters:
        common |= {400, 409}
    for code in sorted(common.union(errors)):
        responses[(code, JSON)] = OpenApiResponse(reference("Error"), description=_ERRORS[code])
    request = None if body is None else {JSON: reference(body)}
    return extend_schema(
        operation_id=id,
        summary=summary,
        description=description,
        tags=[tag],
        parameters=parameters,
        request=request,
        responses=responses,
        auth=[] if public else None,
    )


class WireSchema(AutoSchema):
    """drf-spectacular's reading of a view, without what it would guess from serializers: we have none."""

    def get_filter_backends(self) -> list[Any]:
        """No view filters or pages by DRF's own classes."""
        return []


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the document calls our keys."""

    target_class = "api.auth.ApiKeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """HTTP Bearer."""
        return {"type": "http", "scheme": "bearer", "description": "Made by `manage.py create_api_key`."}
