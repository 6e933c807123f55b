"""The body of POST /v3/connect/custom read into a ConnectRequest: every member has its type, or is named as wrong."""

from __future__ import annotations

from typing import Any

from api.errors import BadRequest
from api.wire import Wire
from sync.services.connecting import ConnectRequest

#: Characters that a text may have.
_LONGEST = 1000
_MOST_FOLDERS = 1000
#: What may be connected with a user name and a password.
PROVIDERS = ("imap",)


def connect_request(body: Wire) -> ConnectRequest:
    """Return what the body asks for. Raises BadRequest naming the first member that is wrong."""
    provider = _text(body, "provider")
    if provider not in PROVIDERS:
        raise BadRequest(f"provider: {provider!r}; allowed: {', '.join(PROVIDERS)}")
    settings = body.get("settings")
    if not isinstance(settings, dict):
        raise BadRequest("settings: must be an object")
    return ConnectRequest(
        provider=provider,
        email=_text(settings, "email"),
        imap_username=_text(settings, "imap_username"),
        imap_password=_text(settings, "imap_password"),
        imap_host=_text(settings, "imap_host") or None,
        imap_port=_integer(settings, "imap_port", most=65535),
        imap_security=_text(settings, "imap_security") or None,
        smtp_host=_text(settings, "smtp_host") or None,
        smtp_port=_integer(settings, "smtp_port", most=65535),
        smtp_security=_text(settings, "smtp_security") or None,
        smtp_username=_text(settings, "smtp_username"),
        smtp_password=_text(settings, "smtp_password"),
        verify_certificates=_boolean(settings, "verify_certificates", default=True),
        sync_days=_integer(settings, "sync_days", most=36_500),
        exclude_folders=_texts(settings, "exclude_folders"),
        headers_first=_boolean(settings, "headers_first", default=False),
        state=_text(body, "state"),
    )


def _text(given: Wire, name: str) -> str:
    return _checked(given.get(name) or "", name)


def _checked(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{name}: must be a string")
    if len(value) > _LONGEST:
        raise BadRequest(f"{name}: at most {_LONGEST} characters")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadRequest(f"{name}: holds a character that no text may hold")
    return value


def _texts(given: Wire, name: str) -> tuple[str, ...]:
    values = given.get(name) or []
    if not isinstance(values, list) or len(values) > _MOST_FOLDERS:
        raise BadRequest(f"{name}: must be a list of at most {_MOST_FOLDERS} strings")
    return tuple(_checked(value, name) for value in values)


def _integer(given: Wire, name: str, *, most: int) -> int | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise BadRequest(f"{name}: must be a whole number from 1 to {most}")
    return value


def _boolean(given: Wire, name: str, *, default: bool) -> bool:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise BadRequest(f"{name}: must be true or false")
    return value
