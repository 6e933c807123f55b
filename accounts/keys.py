"""API keys: made once, shown once, kept as their SHA-256.

A key is `mm_`, nine letters by which it is found and named to people, and 256 random bits that nobody keeps.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiKey, Application

#: What a key may be allowed: to read mail and grants, to change mail, to connect and remove grants.
SCOPES = ("read", "write", "admin")
#: How exactly `last_used_at` is kept: a busy key does not write at each request.
USED_PRECISION = timedelta(minutes=1)

_LETTERS = string.ascii_letters + string.digits
_SHAPE = re.compile(r"mm_[A-Za-z0-9]{9}[A-Za-z0-9_-]{43}")
_PREFIX_LENGTH = 12


class UnknownScope(ValueError):
    """A scope that is none of SCOPES, or none at all."""


def create_api_key(*, application: Application, name: str, scopes: Iterable[str] = SCOPES) -> str:
    """Store a new key of an application and return it: it cannot be shown again. Raises UnknownScope."""
    wanted = set(scopes)
    if not wanted or not wanted <= set(SCOPES):
        raise UnknownScope(f"scopes {', '.join(sorted(wanted)) or 'none'}; allowed: {', '.join(SCOPES)}")
    prefix = "mm_" + "".join(secrets.choice(_LETTERS) for _ in range(9))
    key = prefix + secrets.token_urlsafe(32)
    ApiKey.objects.create(
        application=application,
        name=name,
        prefix=prefix,
        digest=_digest(key),
        scopes=[scope for scope in SCOPES if scope in wanted],
    )
    return key


def find_api_key(text: str) -> ApiKey | None:
    """Return the valid key that `text` is; None: unknown, revoked or ended. Notes that it was used."""
    if not _SHAPE.fullmatch(text):
        return None
    now = timezone.now()
    valid = ApiKey.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None)
    digest = _digest(text)
    for key in valid.filter(prefix=text[:_PREFIX_LENGTH]):
        if hmac.compare_digest(bytes(key.digest), digest):
            if key.last_used_at is None or now - key.last_used_at >= USED_PRECISION:
                ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
            return key
    return None


def revoke_api_key(key: ApiKey) -> bool:
    """End a key for good: the next request with it is refused. False: it was revoked already."""
    return bool(ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now()))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
