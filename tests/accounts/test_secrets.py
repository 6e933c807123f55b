"""Sealed secrets: open where they belong, with any listed key, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.secrets import CannotOpen, UnknownKey, derive_key, needs_reseal, open_sealed, seal

OLD, NEW = "o" * 43, "n" * 43
SECRET = "pässword"


@pytest.fixture(autouse=True)
def keys(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [OLD]


def test_sealed_secret_opens_in_its_context() -> None:
    assert open_sealed(seal(SECRET, context="credential"), context="credential").decode() == SECRET
    assert open_sealed(seal(b"\x00\xff", context="credential"), context="credential") == b"\x00\xff"


def test_sealing_twice_gives_two_tokens_and_neither_shows_the_secret() -> None:
    first, second = seal(SECRET, context="credential"), seal(SECRET, context="credential")
    assert first != second
    assert SECRET.encode() not in first + second


def test_secret_does_not_open_in_another_context() -> None:
    with pytest.raises(CannotOpen, match="webhook"):
        open_sealed(seal(SECRET, context="credential"), context="webhook")


def test_any_changed_byte_keeps_it_closed() -> None:
    token = seal(SECRET, context="credential")
    for position in range(len(token)):
        changed = bytearray(token)
        changed[position] ^= 1
        with pytest.raises(CannotOpen):
            open_sealed(bytes(changed), context="credential")


@pytest.mark.parametrize("length", range(38))
def test_shortened_secret_does_not_open(length: int) -> None:
    with pytest.raises(CannotOpen):
        open_sealed(seal(SECRET, context="credential")[:length], context="credential")


def test_rotation_opens_the_old_and_seals_with_the_new(settings: Any) -> None:
    token = seal(SECRET, context="credential")
    assert not needs_reseal(token)
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    assert needs_reseal(token)
    assert open_sealed(token, context="credential").decode() == SECRET
    resealed = seal(open_sealed(token, context="credential"), context="credential")
    assert not needs_reseal(resealed)
    settings.ENCRYPTION_KEYS = [NEW]
    assert open_sealed(resealed, context="credential").decode() == SECRET
    with pytest.raises(UnknownKey, match="ENCRYPTION_KEYS"):
        open_sealed(token, context="credential")


def test_error_does_not_tell_the_secret_or_a_key() -> None:
    token = seal(SECRET, context="credential")
    with pytest.raises(CannotOpen) as caught:
        open_sealed(token, context="other")
    assert SECRET not in str(caught.value)
    assert OLD not in str(caught.value)


def test_derived_keys_differ_by_purpose_and_key_and_stay_the_same(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    cursors, links = derive_key("cursors"), derive_key("links")
    assert len({*cursors, *links}) == 4
    assert all(len(key) == 32 for key in cursors)
    assert derive_key("cursors") == cursors
    settings.ENCRYPTION_KEYS = [OLD]
    assert derive_key("cursors") == cursors[1:]
