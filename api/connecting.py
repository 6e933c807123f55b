"""The settings of a mailbox as clients send them: every member has its type, or is named as wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
    """Return what POST /v3/connect/custom asks for. Raises BadRequest naming the first member that is wrong."""
    provider = _text(body, "provider")
    if provider not in PROVIDERS:
        raise BadRequest(f"provider: {provider!r}; allowed: {', '.join(PROVIDERS)}")
    if "settings" not in body:
        raise BadRequest("settings: must be an object")
    given = _settings(body)
    read = {name: reader(given, name) for name, reader in _READERS.items()}
    return ConnectRequest(provider=provider, state=_text(body, "state"), **read)


def changed_settings(body: Wire) -> dict[str, Any]:
    """Return the settings that PATCH /v3/grants/{id} changes: fields of ConnectRequest; null takes a default back."""
    scope = body.get("scope") or []
    if not isinstance(scope, list) or not all(isinstance(one, str) for one in scope):
        raise BadRequest("scope: must be a list of strings")
    given = _settings(body)
    return {name: reader(given, name) for name, reader in _READERS.items() if name in given}


def _settings(body: Wire) -> Wire:
    settings = body.get("settings", {})
    if not isinstance(settings, dict):
        raise BadRequest("settings: must be an object")
    return settings


def _text(given: Wire, name: str) -> str:
    return _checked(given.get(name) or "", name)


def _text_or_none(given: Wire, name: str) -> str | None:
    return _text(given, name) or None


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


_READERS: dict[str, Callable[[Wire, str], Any]] = {
    "email": _text,
    "imap_username": _text,
    "imap_password": _text,
    "imap_host": _text_or_none,
    "imap_port": partial(_integer, most=65535),
    "imap_security": _text_or_none,
    "smtp_host": _text_or_none,
    "smtp_port": partial(_integer, most=65535),
    "smtp_security": _text_or_none,
    "smtp_username": _text,
    "smtp_password": _text,
    "verify_certificates": partial(_boolean, default=True),
    "sync_days": partial(_integer, most=36_500),
    "exclude_folders": _texts,
    "headers_first": partial(_boolean, default=False),
}
