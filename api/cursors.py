"""Page tokens: where a list goes on. Opaque, signed, bound to their grant and their list; `limit` may change.

A token also holds the filters it was made with, so that a caller may leave them out on later pages.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from accounts.secrets import derive_key
from api.errors import BadRequest

_MAC_BYTES = 16
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """The last object of a page, in the order of its list, and the raw filters of the list."""

    id: int
    #: None: the list is in the order of ids.
    date: datetime | None = None
    filters: dict[str, list[str]] = field(default_factory=dict)


def encode_page_token(account_id: int, list_name: str, position: Position) -> str:
    """Return the token behind a position of a list of an account."""
    date = None if position.date is None else (position.date - _EPOCH) // timedelta(microseconds=1)
    told: list[object] = [date, position.id]
    if position.filters:
        told.append(position.filters)
    body = json.dumps(told, separators=(",", ":")).encode()
    sealed = _mac(derive_key("page-token")[0], account_id, list_name, body) + body
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def decode_page_token(account_id: int, list_name: str, token: str) -> Position:
    """Return the position of a token that was made for this list of this account. Raises BadRequest."""
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused() from error
    mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
    # one text a token: base64 allows several for the same bytes
    canonical = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode() == token
    keys = derive_key("page-token")
    if not canonical or not any(hmac.compare_digest(mac, _mac(key, account_id, list_name, body)) for key in keys):
        raise _refused()
    microseconds, object_id, *filters = json.loads(body)
    date = None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
    return Position(object_id, date, filters[0] if filters else {})


def _mac(key: bytes, account_id: int, list_name: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{account_id} {list_name} ".encode() + body, "sha256")[:_MAC_BYTES]


def _refused() -> BadRequest:
    return BadRequest("page_token: not a next_cursor of this list")
