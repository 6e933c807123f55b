"""Base64 out of raw mail and back: never a byte changed, and taken out where mailers put it."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.base64_runs import put_back, take_out
from sync.blobs import PIECE

CONTENT = random.Random(1).randbytes(3000)
HEAD = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"


def wrap(content: bytes, width: int = 76) -> bytes:
    text = base64.b64encode(content)
    return b"\r\n".join(text[at : at + width] for at in range(0, len(text), width))


def part(content: bytes, width: int = 76) -> bytes:
    return b"--b\r\n" + HEAD + wrap(content, width) + b"\r\n"


PIECES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"\r\n", b"\r\n\r\n", b"--b\r\n", b"\r\n--b--\r\n", HEAD, b"base64", b"BASE64 ", b"=", b"\n"]),
    st.builds(part, st.binary(max_size=2000), st.sampled_from([4, 40, 60, 64, 72, 76, 77, 1000])),
    st.builds(wrap, st.binary(max_size=2000), st.sampled_from([60, 76])),
)


@given(st.lists(PIECES, max_size=8).map(b"".join), st.booleans())
def test_whatever_was_taken_out_comes_back_exactly(raw: bytes, continued: bool) -> None:
    assert put_back(*take_out(raw, continued=continued)) == raw


@given(st.lists(PIECES, max_size=8).map(b"".join), st.data())
def test_a_mail_cut_anywhere_comes_back_exactly(raw: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(raw)))
    pieces = [take_out(raw[:cut]), take_out(raw[cut:], continued=True)]
    assert b"".join(put_back(*each) for each in pieces) == raw


@pytest.mark.parametrize("width", [60, 64, 72, 76])
def test_an_attachment_is_stored_decoded(width: int) -> None:
    raw = part(CONTENT, width) + part(CONTENT, width) + b"--b--\r\n"
    stripped, runs = take_out(raw)
    assert [run.length for run in runs] == [3000, 3000]
    assert stripped.count(CONTENT) == 2
    assert [stripped[run.offset : run.offset + run.length] for run in runs] == [CONTENT, CONTENT]


def test_the_rest_of_an_attachment_cut_by_the_piece_is_decoded() -> None:
    raw = part(CONTENT * 700) + b"--b--\r\n"
    assert len(raw) > 2 * PIECE
    stripped, runs = take_out(raw[PIECE : 2 * PIECE], continued=True)
    assert runs
    assert len(stripped) < 0.75 * PIECE


@pytest.mark.parametrize(
    "odd",
    [
        part(CONTENT).replace(b"\r\n", b"\n"),
        part(CONTENT, 77),
        part(CONTENT).replace(b"A", b"*", 1),
        part(CONTENT[:100]),
        part(CONTENT).replace(b"\r\n", b" \r\n"),
    ],
    ids=["bare line ends", "odd width", "a stray character", "short", "blanks at line ends"],
)
def test_what_is_not_wrapped_as_mailers_do_stays_as_it_is(odd: bytes) -> None:
    assert take_out(odd + b"--b--\r\n") == (odd + b"--b--\r\n", [])
