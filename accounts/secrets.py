"""Secrets at rest: sealed with the newest of ENCRYPTION_KEYS, opened with any of them.

A sealed value is `key id (4 bytes) || nonce (12) || AES-256-GCM ciphertext`, bound to the context it was sealed for: a
value moved to another column does not open.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

_KEY_ID = 4
_NONCE = 12


class CannotOpen(ValueError):
    """The value was damaged, was sealed for something else, or its key is not in ENCRYPTION_KEYS any more."""


def seal(plaintext: bytes | str, *, context: str) -> bytes:
    """Encrypt with the newest key; only the same `context` opens it."""
    raw = plaintext.encode() if isinstance(plaintext, str) else plaintext
    key = derive_key("seal")[0]
    nonce = os.urandom(_NONCE)
    return _key_id(key) + nonce + AESGCM(key).encrypt(nonce, raw, context.encode())


def open_sealed(token: bytes, *, context: str) -> bytes:
    """Decrypt what `seal` made with any of the keys. Raises CannotOpen."""
    key_id, nonce, ciphertext = token[:_KEY_ID], token[_KEY_ID : _KEY_ID + _NONCE], token[_KEY_ID + _NONCE :]
    for key in derive_key("seal"):
        if _key_id(key) == key_id:
            try:
                return AESGCM(key).decrypt(nonce, ciphertext, context.encode())
            except (InvalidTag, ValueError):
                continue
    raise CannotOpen(f"a sealed {context} does not open with any of ENCRYPTION_KEYS")


def needs_reseal(token: bytes) -> bool:
    """Whether the value was sealed with another key than the newest."""
    return token[:_KEY_ID] != _key_id(derive_key("seal")[0])


def derive_key(purpose: str) -> list[bytes]:
    """Derive a 32-byte key for `purpose` from each of ENCRYPTION_KEYS, newest first (HKDF, RFC 5869)."""
    return [
        HKDF(algorithm=SHA256(), length=32, salt=None, info=f"mailmirror {purpose}".encode()).derive(key.encode())
        for key in settings.ENCRYPTION_KEYS
    ]


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:_KEY_ID]
