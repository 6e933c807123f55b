"""Around every request: its id, and errors in the envelope whoever raised them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from api.errors import ApiError, envelope_bytes

GetResponse = Callable[[HttpRequest], HttpResponseBase]

#: The only pages for people whose errors are pages too.
ADMIN = "/admin/"

_MESSAGES = {
    400: "the request is malformed",
    403: "not allowed",
    404: "nothing is served at this path",
    405: "this method is not served at this path",
    413: "the body of the request is too large",
}


class RequestIdMiddleware:
    """Give every request an id, and every answer the header `x-request-id`: outermost, so on errors too.

    Also folds doubled slashes at the beginning of the path: a base URL that ends in one makes them.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request.request_id = str(uuid.uuid4())  # type: ignore[attr-defined]
        if request.path_info.startswith("//"):
            request.path_info = "/" + request.path_info.lstrip("/")
            request.path = request.META.get("SCRIPT_NAME", "").rstrip("/") + request.path_info
        with structlog.contextvars.bound_contextvars(request_id=request.request_id):  # type: ignore[attr-defined]
            response = self._get_response(request)
        response.headers["X-Request-Id"] = request.request_id  # type: ignore[attr-defined]
        return response


class ErrorEnvelopeMiddleware:
    """Turn the errors that Django itself answers (no such path, bad host, a bug) into the envelope."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._get_response(request)
        if response.status_code < 400 or request.path_info.startswith(ADMIN) or _is_json(response):
            return response
        return _as_envelope(response, request.request_id)  # type: ignore[attr-defined]


def _is_json(response: HttpResponseBase) -> bool:
    return "json" in response.headers.get("Content-Type", "")


def _as_envelope(response: HttpResponseBase, request_id: str) -> HttpResponse:
    status = response.status_code
    message = _MESSAGES.get(status, "an internal error; it is logged under this request_id")
    body = envelope_bytes(ApiError(status, message), request_id)
    answer = HttpResponse(body, status=status, content_type="application/json")
    for name in ("Allow", "Retry-After", "WWW-Authenticate"):
        if name in response.headers:
            answer.headers[name] = response.headers[name]
    return answer
