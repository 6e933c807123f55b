"""Who calls: the key in `Authorization: Bearer`, what its scopes allow, and whose grant a path names."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Q
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.keys import find_api_key
from accounts.models import ApiKey, GrantDirectory
from api.errors import ApiError, BadRequest, NotFound
from api.ids import parse_id

_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


class ApiKeyAuthentication(BaseAuthentication):
    """Reads the API key; `request.auth` is its row, `request.user` is nobody."""

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        """Return the key, None where none is given; raises where it is not valid."""
        given = request.headers.get("Authorization", "")
        if not given:
            return None
        bearer = _BEARER.fullmatch(given)
        key = find_api_key(bearer[1]) if bearer else None
        if key is None:
            raise AuthenticationFailed("the API key is not valid")
        return None, key

    def authenticate_header(self, request: Request) -> str:
        """What WWW-Authenticate says on 401."""
        return "Bearer"


class HasScope(BasePermission):
    """The key has the scope that the view names for the method."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Raise 403 where the scope is missing; False (401) where there is no key."""
        if not isinstance(request.auth, ApiKey):
            return False
        scope = view.scope_of(request.method)
        if scope not in request.auth.scopes:
            raise ApiError(403, f"this key lacks the scope {scope!r}; it has: {', '.join(request.auth.scopes)}")
        return True


def find_grant(key: ApiKey, name: str) -> GrantDirectory:
    """Return the grant of the key's application that a path names, in any of its spellings.

    `<id>`, `grant:<id>`, an email or `email:<address>`. Raises NotFound, also for another application's.
    """
    if name == "me":
        raise BadRequest("'me' is the grant of an access token; an API key has none: name the grant")
    mine = GrantDirectory.objects.filter(application_id=key.application_id)
    grant = mine.filter(_spelled(name)).first() if "\0" not in name else None
    if grant is None:
        raise NotFound("no such grant")
    return grant


def _spelled(name: str) -> Q:
    kind, separator, rest = name.partition(":")
    if separator and kind == "email":
        return Q(email=rest.lower())
    number = parse_id(rest if separator and kind == "grant" else name)
    return Q(pk=number) if number or "@" not in name else Q(email=name.lower())
