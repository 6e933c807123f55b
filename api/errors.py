"""Every error as the SDKs parse it: the envelope of the v3 format, with the members of RFC 9457 beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.changelog.reader import BadCursor, CursorExpired
from accounts.services import AccountChanged, AccountNotFound
from sync.errors import MailError
from sync.services.connecting import InvalidSettings

#: The `error.type` of a status where nothing more precise is known.
TYPES = {
    400: "invalid_request_error",
    401: "unauthorized",
    403: "insufficient_scopes",
    404: "not_found_error",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    410: "cursor_expired",
    413: "request_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    429: "nylas_rate_limit_exceeded",
    500: "api.internal_error",
    503: "api.unavailable",
    504: "provider_error",
}
#: Seconds after which to try again when the database is busy or away.
RETRY_AFTER = 2

# SQLSTATEs (PostgreSQL, appendix A)
_LOCK_NOT_AVAILABLE = "55P03"
_QUERY_CANCELED = "57014"


class ApiError(Exception):
    """An answer with an error; raised by views, turned into the envelope by `answer_error`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,
        provider_error: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type or TYPES.get(status, TYPES[400] if status < 500 else TYPES[500])
        self.provider_error = provider_error
        self.headers = dict(headers or {})


class BadRequest(ApiError):
    """400: a parameter or a member of the body is not what it must be; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class NotFound(ApiError):
    """404: unknown here, or another application's, which looks the same."""

    def __init__(self, message: str) -> None:
        super().__init__(404, message)


def envelope(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    told: dict[str, Any] = {"type": error.type, "message": error.message}
    if error.provider_error is not None:
        told["provider_error"] = dict(error.provider_error)
    return {
        "request_id": request_id,
        "error": told,
        "type": f"urn:mailmirror:error:{error.type}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
    }


def envelope_bytes(error: ApiError, request_id: str) -> bytes:
    """Return the body of an error, for what answers outside the views."""
    return json.dumps(envelope(error, request_id), ensure_ascii=False).encode()


def answer_error(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """Turn what a view raised into its answer (DRF's exception handler); None: a bug, which Django logs as one."""
    request: Request = context["request"]
    told = _as_api_error(error, request)
    if told is None:
        return None
    return Response(envelope(told, str(getattr(request, "request_id", ""))), status=told.status, headers=told.headers)


def _as_api_error(error: Exception, request: Request) -> ApiError | None:
    match error:
        case ApiError():
            return error
        case exceptions.APIException():
            return _of_drf(error)
        case Http404() | AccountNotFound():
            return NotFound("not found")
        case PermissionDenied():
            return ApiError(403, "not allowed")
        case RequestDataTooBig():
            return ApiError(413, "the body of the request is too large")
        case SuspiciousOperation() | BadCursor() | InvalidSettings():
            return BadRequest(str(error))
        case AccountChanged():
            return ApiError(409, str(error))
        case CursorExpired():
            return ApiError(410, "the log does not reach back to this cursor: crawl again from G/changes/latest")
        case MailError():
            stage = {"stage": error.stage, "message": str(error)}
            return ApiError(400, str(error), type="provider_error", provider_error=stage)
        case OperationalError() | InterfaceError():
            return unavailable(error, request)
    return None


def _of_drf(error: exceptions.APIException) -> ApiError:
    headers: dict[str, str] = {}
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = f"{wait:.0f}"
    return ApiError(error.status_code, str(error.detail), headers=headers)


def unavailable(error: Exception, request: Request) -> ApiError:
    """Return 503: the account is busy, the query would take too long, or the database is away."""
    code = getattr(error.__cause__, "pgcode", None)
    if code == _LOCK_NOT_AVAILABLE:
        message = "the account is busy; try again"
    elif code == _QUERY_CANCELED:
        named = ", ".join(sorted(set(request.query_params) - {"limit", "page_token", "select", "fields"}))
        message = f"this takes too long with the filters {named}; narrow it" if named else "this takes too long"
    else:
        message = "the database cannot be reached; try again"
    return ApiError(503, message, headers={"Retry-After": str(RETRY_AFTER)})
