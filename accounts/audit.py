"""Recording what staff do with mailboxes and keys, before they do it."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest

from accounts.models import AuditEntry, StaffAction


def record_staff_action(
    request: HttpRequest,
    action: StaffAction,
    *,
    account_id: int | None = None,
    object_type: str = "",
    object_id: int | None = None,
) -> AuditEntry:
    """Write an entry of the audit log about the staff member who makes this request, and return it.

    Call it before the action: what cannot be recorded is not done.
    """
    user = request.user
    return AuditEntry.objects.create(
        user_id=user.pk,
        username=user.get_username(),
        action=action,
        account_id=account_id,
        object_type=object_type,
        object_id=object_id,
        address=client_address(request),
    )


def client_address(request: HttpRequest) -> str | None:
    """Return the address that a request came from; None: not known.

    Where TLS ends at a proxy (PUBLIC_URL is https), that is the last one of X-Forwarded-For: the one the proxy saw.
    Those before it are the client's own claims.
    """
    told = request.META.get("REMOTE_ADDR", "")
    if settings.SECURE_PROXY_SSL_HEADER:
        told = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2] or told
    try:
        return str(ipaddress.ip_address(told.strip()))
    except ValueError:
        return None
