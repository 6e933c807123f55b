"""Whatever the bytes are, they are read, and what comes out can be stored."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sync.mime import decode_part, html_to_text, iter_decoded, parse_headers, parse_message
from sync.mime import message as message_module
from sync.mime.values import SNIPPET_LENGTH

MAILS = sorted((Path(__file__).parents[1] / "mail").glob("*.eml"))
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

#: Pieces that mean something, so that random mail gets far.
PIECES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\n",
    b" ",
    b"\t",
    b"From: ",
    b"To: ",
    b"Subject: ",
    b"Date: ",
    b"Message-ID: ",
    b"References: ",
    b"Content-Type: ",
    b"Content-Disposition: attachment; ",
    b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n",
    b"Content-Transfer-Encoding: x-uuencode\n",
    b"Content-ID: <x>\n",
    b"multipart/mixed; boundary=B",
    b"multipart/digest; boundary=A:B",
    b"text/html; charset=utf-16",
    b"text/plain; charset=utf-7",
    b"charset=hz",
    b"message/rfc822",
    b"filename*=utf-8''%00%ed%a0%80",
    b"filename*0*=iso-2022-jp''%1b$B",
    b'name="=?utf-8?q?=00?="',
    b"--B\n",
    b"--B--\n",
    b"--A:B\n",
    b"--",
    b"=?utf-8?q?=ED=A0=80?=",
    b"=?utf-7?b?K0FBLQ==?=",
    b"=?x?q?",
    b"?=",
    b"<",
    b">",
    b"@",
    b"(",
    b")",
    b'"',
    b"\\",
    b",",
    b";",
    b":",
    b"=",
    b"=\n",
    b"=00",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"begin 644 x\n",
    b"M",
    b"end\n",
    b"Fri, 31 Dec 9999 23:59:59 -2359",
    b"Sat, 1 Jan 0000 00:00:00 +0000",
    b"1 Jan 0001 00:00 +1400",
    b"<style>",
    b"</style>",
    b"<!--",
    b"-->",
    b"<blockquote>",
    b"&#xD800;",
    b"&#0;",
    b"On x wrote:\n",
    b"> quoted\n",
]

mail_like = st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=60).map(b"".join)


def check(raw: bytes) -> None:
    """Read `raw` in every way there is, and require that it can be stored and is consistent."""
    message = parse_message(raw)
    assert "unreadable" not in message.defects
    assert [text for text in strings(dataclasses.asdict(message)) if UNSTORABLE.search(text)] == []
    assert [text for text in strings(parse_headers(raw)) if UNSTORABLE.search(text)] == []
    assert not UNSTORABLE.search(html_to_text(message.html or ""))
    assert len(message.snippet) <= SNIPPET_LENGTH
    assert "\n" not in message.snippet
    if message.date is not None:
        assert message.date.utcoffset() == timedelta(0)
        assert datetime.min.year < message.date.year < datetime.max.year
    for part in message.attachments:
        assert 0 <= part.offset <= part.offset + part.length <= len(raw)
        body = raw[part.offset : part.offset + part.length]
        assert b"".join(iter_decoded(raw, part)) == decode_part(body, part.encoding)


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"")
@example(b"\n")
@example(b"\r\n\r\n")
@example(b"\xef\xbb\xbf")
@example(b"From ")
def test_arbitrary_bytes_are_read_and_storable(raw: bytes) -> None:
    check(raw)


@settings(max_examples=600, deadline=None)
@given(mail_like)
@example(b"Date: Thu, 10 Sjj 1997 14:53:31 +0000\n\n")
@example("Subject: =?käoi8-r?q?=00?=\n\n".encode("latin-1"))
@example(b"Date: Fri, 31 Dec 9999 23:59:59 -2359\n\n")
@example(b"Date: Sat, 1 Jan 0000 00:00:00 +0000\n\n")
def test_bytes_that_look_like_mail_are_read_and_storable(raw: bytes) -> None:
    check(raw)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_mail_is_read_and_storable(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from(MAILS)).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        start = data.draw(st.integers(0, len(raw)))
        removed = data.draw(st.integers(0, 40))
        raw[start : start + removed] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=20))
    check(bytes(raw))


@pytest.mark.parametrize("path", MAILS, ids=lambda path: path.stem)
def test_mail_cut_off_anywhere_is_read_and_storable(path: Path) -> None:
    raw = path.read_bytes()
    for end in range(0, len(raw), max(len(raw) // 60, 1)):
        check(raw[:end])


@given(st.binary(max_size=200), st.sampled_from(["base64", "quoted-printable", "x-uuencode", "8bit", "nonsense"]))
def test_any_body_decodes_whatever_its_encoding_is_said_to_be(body: bytes, encoding: str) -> None:
    assert isinstance(decode_part(body, encoding), bytes)


@given(st.text(max_size=300))
@example("<a" * 100)
@example("&#xD800;&#0;\0")
def test_any_text_read_as_html_gives_text(page: str) -> None:
    assert not UNSTORABLE.search(html_to_text(page))


def test_fault_of_our_own_marks_the_mail_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str | None, html: str | None) -> str:
        raise RecursionError

    monkeypatch.setattr(message_module, "make_snippet", fail)
    assert parse_message(b"Subject: x\n\nbody").defects == ("unreadable",)
    assert "a mail of 16 bytes cannot be read" in caplog.text
