"""Secrets at rest: sealed with AES-256-GCM under the first of ENCRYPTION_KEYS, opened with whichever sealed them.

A sealed secret is: 1 byte version, 8 bytes key id, 12 bytes nonce, the ciphertext, 16 bytes tag. The context (what the
secret is) and the head are authenticated with it: a value copied to another place does not open there.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

VERSION = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12
KEY_BYTES = 32
TAG_BYTES = 16
HEAD_BYTES = len(VERSION) + KEY_ID_BYTES


class CannotOpen(Exception):
    """A sealed secret does not open. Its text never holds the secret."""


class UnknownKey(CannotOpen):
    """The key that sealed it is not listed in ENCRYPTION_KEYS any more."""


def seal(plaintext: bytes | str, *, context: str) -> bytes:
    """Return `plaintext` (text: as UTF-8) sealed with the newest key; it opens only with the same `context`."""
    key = settings.ENCRYPTION_KEYS[0]
    content = plaintext.encode() if isinstance(plaintext, str) else plaintext
    head = VERSION + _key_id(key)
    nonce = secrets.token_bytes(NONCE_BYTES)
    return head + nonce + AESGCM(_sealing_key(key)).encrypt(nonce, content, _bound_to(head, context))


def open_sealed(token: bytes, *, context: str) -> bytes:
    """Return what was sealed. Raises UnknownKey, and CannotOpen for a changed token or another context."""
    head, rest = token[:HEAD_BYTES], token[HEAD_BYTES:]
    if not head.startswith(VERSION) or len(rest) < NONCE_BYTES + TAG_BYTES:
        raise CannotOpen("not a sealed secret")
    nonce, ciphertext = rest[:NONCE_BYTES], rest[NONCE_BYTES:]
    keys = list(_keys_called(head[len(VERSION) :]))
    if not keys:
        raise UnknownKey("sealed with a key that ENCRYPTION_KEYS does not list; add it behind the others")
    for key in keys:
        try:
            return AESGCM(_sealing_key(key)).decrypt(nonce, ciphertext, _bound_to(head, context))
        except InvalidTag:
            continue
    raise CannotOpen(f"changed since it was sealed, or sealed as something else than {context!r}")


def needs_reseal(token: bytes) -> bool:
    """Whether a secret was sealed with another key than the newest."""
    return token[:HEAD_BYTES] != VERSION + _key_id(settings.ENCRYPTION_KEYS[0])


def derive_key(purpose: str) -> list[bytes]:
    """Return 32 bytes for each of ENCRYPTION_KEYS, newest first, that serve `purpose` alone, such as signing cursors.

    Sign with the first; accept any. They never tell the keys they come from (HKDF, RFC 5869).
    """
    return [_derived(key, f"purpose: {purpose}", KEY_BYTES) for key in settings.ENCRYPTION_KEYS]


def _keys_called(key_id: bytes) -> Iterator[str]:
    return (key for key in settings.ENCRYPTION_KEYS if _key_id(key) == key_id)


def _bound_to(head: bytes, context: str) -> bytes:
    return head + context.encode()


def _key_id(key: str) -> bytes:
    return _derived(key, "key id", KEY_ID_BYTES)


def _sealing_key(key: str) -> bytes:
    return _derived(key, "sealing", KEY_BYTES)


@lru_cache(maxsize=128)
def _derived(key: str, use: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=f"mailmirror {use}".encode()).derive(key.encode())
