"""`Idempotency-Key` on what makes or sends something: done once, answered the same whenever it is asked again.

A key is a grant's, or, where the path names none, the application's; it is kept for an hour. Only answers that made
something are kept: after an error the same key may try again.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.secrets import derive_key
from api.errors import ApiError
from api.models import IdempotentRequest

if TYPE_CHECKING:
    from api.views.base import ApiView

HEADER = "Idempotency-Key"
#: On an answer that was given before.
REPLAYED = "Idempotent-Response"
MAX_LENGTH = 256
#: How long an answer is kept.
KEPT = timedelta(hours=1)
#: A request without an answer for so long died: no view works longer.
DIED = timedelta(seconds=60)
#: Seconds after which to ask again for an answer that is being worked on.
RETRY_AFTER = 1

View = TypeVar("View", bound="ApiView")
Given = ParamSpec("Given")
Post = Callable[Concatenate[View, Request, Given], Response]


def idempotent(post: Post[View, Given]) -> Post[View, Given]:
    """Let callers of a view's method name their request: the method runs once a name."""

    @wraps(post)
    def once(view: View, request: Request, /, *args: Given.args, **kwargs: Given.kwargs) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return post(view, request, *args, **kwargs)
        _check(key)
        claimed = _claim(view, key, _fingerprint(view, request))
        if claimed.status is not None:
            return _replay(request, claimed)
        mine = IdempotentRequest.objects.filter(pk=claimed.pk, claimed_at=claimed.claimed_at)
        try:
            response = post(view, request, *args, **kwargs)
        except BaseException:
            mine.delete()
            raise
        if response.status_code < 400:
            mine.update(status=response.status_code, body=json.dumps(response.data))
        else:
            mine.delete()
        return response

    return once


def prune() -> int:
    """Forget the answers that are older than KEPT; return how many."""
    return IdempotentRequest.objects.filter(claimed_at__lt=timezone.now() - KEPT).delete()[0]


def _check(key: str) -> None:
    if not key or len(key) > MAX_LENGTH or not (key.isascii() and key.isprintable()):
        message = f"{HEADER}: allowed: 1 to {MAX_LENGTH} printable ASCII characters"
        raise ApiError(400, message, type="api.invalid_idempotency_key")


def _fingerprint(view: ApiView, request: Request) -> bytes:
    """Hash what is asked for; JSON with its members in any order is the same."""
    # the grant is the key's own, however the path spells it
    path = {name: value for name, value in view.kwargs.items() if name != "grant"}
    told = [request.method, type(view).__qualname__, path, sorted(request.query_params.lists()), request.data]
    return hmac.digest(derive_key("idempotency")[0], json.dumps(told, sort_keys=True).encode(), "sha256")


def _claim(view: ApiView, key: str, fingerprint: bytes) -> IdempotentRequest:
    """Return the request of this name: ours to work on, or (with a status) answered before.

    Raises ApiError where another request has this name, or one is being worked on.
    """
    now = timezone.now()
    named: dict[str, Any] = {"application_id": view.key.application_id, "account_id": _account(view), "key": key}
    ours: dict[str, Any] = {"fingerprint": fingerprint, "claimed_at": now, "status": None, "body": ""}
    found, made = IdempotentRequest.objects.get_or_create(**named, defaults=ours)
    if made or _take_over(found, ours, now):
        return found
    if not hmac.compare_digest(bytes(found.fingerprint), fingerprint):
        message = f"{HEADER}: it named another request before; a new request needs a new key"
        raise ApiError(409, message, type="api.invalid_idempotent_request")
    if found.status is None:
        message = f"{HEADER}: this request is being worked on; ask again for its answer"
        headers = {"Retry-After": str(RETRY_AFTER)}
        raise ApiError(409, message, type="api.concurrent_idempotent_request", headers=headers)
    return found


def _account(view: ApiView) -> int:
    return int(getattr(view, "account_id", 0))


def _take_over(found: IdempotentRequest, ours: dict[str, Any], now: datetime) -> bool:
    """Take a request whose answer is too old, or whose worker died; False: it is alive, or another took it."""
    if found.claimed_at > now - (KEPT if found.status is not None else DIED):
        return False
    mine = IdempotentRequest.objects.filter(pk=found.pk, claimed_at=found.claimed_at)
    if not mine.update(**ours):
        found.refresh_from_db()
        return False
    for name, value in ours.items():
        setattr(found, name, value)
    return True


def _replay(request: Request, answered: IdempotentRequest) -> Response:
    body = json.loads(answered.body)
    # the id in the body and the one in the header are one
    request._request.request_id = body["request_id"]  # type: ignore[attr-defined]
    return Response(body, status=answered.status, headers={REPLAYED: "true"})
