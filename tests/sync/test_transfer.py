"""Counting what an encoded body decodes to, without decoding it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.mime import transfer


@pytest.fixture(autouse=True)
def _small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "SLICE", 16)


@given(st.text("AB+/=\r\n *", max_size=120).map(str.encode))
def test_base64_counts_as_it_decodes_whatever_stands_in_it(body: bytes) -> None:
    assert transfer.count_decoded(body, 0, len(body), "base64") == len(transfer.decode_part(body, "base64"))
