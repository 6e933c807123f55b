"""Places in a log as clients hold them: opaque, bound to their account, tamper-proof."""

from __future__ import annotations

import base64
import binascii
import hmac
import struct

from accounts.secrets import derive_key

#: Of the first byte; another one is another shape.
_VERSION = 1
_MAC_BYTES = 16
_BODY = struct.Struct(">BQ")


class BadCursor(ValueError):
    """Not a cursor of this account, or not ours at all."""


def encode_cursor(account_id: int, seq: int) -> str:
    """Return the cursor behind transaction `seq` of an account: 34 letters, signed with the newest key."""
    body = _BODY.pack(_VERSION, seq)
    sealed = body + _mac(_keys()[0], account_id, body)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def decode_cursor(account_id: int, cursor: str) -> int:
    """Return the seq of a cursor signed with any listed key. Raises BadCursor."""
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadCursor("not a cursor") from error
    body, mac = sealed[: _BODY.size], sealed[_BODY.size :]
    # one text a cursor: base64 allows several for the same bytes
    if len(sealed) != _BODY.size + _MAC_BYTES or "=" in cursor or body[0] != _VERSION:
        raise BadCursor("not a cursor")
    if not any(hmac.compare_digest(mac, _mac(key, account_id, body)) for key in _keys()):
        raise BadCursor("not a cursor of this account")
    return int(_BODY.unpack(body)[1])


def _keys() -> list[bytes]:
    return derive_key("changelog-cursor")


def _mac(key: bytes, account_id: int, body: bytes) -> bytes:
    return hmac.digest(key, struct.pack(">Q", account_id) + body, "sha256")[:_MAC_BYTES]
