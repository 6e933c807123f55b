"""Single rules of reading mail; whole mails are in tests/mail (test_mime_files.py)."""

from __future__ import annotations

import base64
import mmap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sync.mime import Address, decode_part, html_to_text, iter_decoded, parse_headers, parse_message
from sync.mime.transfer import SLICE
from tests.sync.test_mime_files import MAILS


def subject(value: bytes) -> str:
    return parse_message(b"Subject: " + value + b"\r\n\r\n").subject


def to(value: str) -> list[tuple[str, str]]:
    return [(address.name, address.email) for address in parse_message(f"To: {value}\n\n".encode()).to]


def date(value: str) -> datetime | None:
    return parse_message(f"Date: {value}\n\n".encode()).date


def snippet(text: str) -> str:
    return parse_message(b"Subject: x\n\n" + text.encode()).snippet


def hexadecimal(data: bytes) -> bytes:
    """Quoted-printable at its most verbose: each byte in three, with soft breaks."""
    lines = (data[start : start + 20] for start in range(0, len(data), 20))
    return b"=\r\n".join(b"".join(b"=%02X" % byte for byte in line) for line in lines)


def html_snippet(page: str) -> str:
    return parse_message(b"Content-Type: text/html; charset=utf-8\n\n" + page.encode()).snippet


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"plain", "plain"),
        (b"folded\r\n over two lines", "folded over two lines"),
        (b"=?utf-8?q?a_b?=", "a b"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?= c", "ab c"),
        (b"=?utf-8?b?w6k?=", "é"),
        (b"=?UTF-8*en?Q?=E2=82=AC?=", "€"),
        (b"x=?utf-8?q?y?=z", "xyz"),
        (b"=?utf-8?q?what??=", "what?"),
        (b"=?utf-8?q?never closed", "=?utf-8?q?never closed"),
        (b"=?iso-8859-1?q?raw \xfc?=", "raw ü"),
        (b"=?iso-8859-1?q?=80?=", "€"),
        ("=?utf-8?q?ü?=".encode(), "ü"),
        (b"=?gb2312?b?6UY=?=", "镕"),
        (b"=?utf-8?q?one=0D=0ABcc:_all?=", "one Bcc: all"),
    ],
)
def test_subject_is_decoded_as_people_meant_it(value: bytes, expected: str) -> None:
    assert subject(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@example.org", [("", "a@example.org")]),
        ("<a@example.org>", [("", "a@example.org")]),
        ('"Berg, Anna" <a@example.org>', [("Berg, Anna", "a@example.org")]),
        (r'"An \"Ann\" Berg" <a@example.org>', [('An "Ann" Berg', "a@example.org")]),
        ("=?utf-8?q?Berg=2C_Anna?= <a@example.org>", [("Berg, Anna", "a@example.org")]),
        ("Anna <a@example.org", [("Anna", "a@example.org")]),
        ("a@example.org (Anna (the first) Berg)", [("Anna (the first) Berg", "a@example.org")]),
        ("Anna <a@example.org> (office)", [("Anna", "a@example.org")]),
        ("a@example.org,, b@example.org,", [("", "a@example.org"), ("", "b@example.org")]),
        ("a@example.org; b@example.org", [("", "a@example.org"), ("", "b@example.org")]),
        ("Anna A.@home <a@example.org>", [("Anna A.@home", "a@example.org")]),
        ("Team: a@example.org, Bo <b@example.org>;", [("", "a@example.org"), ("Bo", "b@example.org")]),
        ("undisclosed-recipients:;", []),
        ("Anna", [("Anna", "")]),
        ("MAILER-DAEMON <>", [("MAILER-DAEMON", "")]),
        ("用户@例子.example", [("", "用户@例子.example")]),
        ("", []),
    ],
)
def test_mailboxes_are_read_with_their_names(value: str, expected: list[tuple[str, str]]) -> None:
    assert to(value) == expected


def test_field_that_stands_there_twice_counts_in_full_and_names_everybody_once() -> None:
    message = parse_message(b"To: a@x.org, b@x.org\nFrom: c@x.org\nFrom: c@x.org\nTo: b@x.org, d@x.org\n\n")
    assert [address.email for address in message.to] == ["a@x.org", "b@x.org", "d@x.org"]
    assert message.from_ == (Address("", "c@x.org"),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Tue, 3 Mar 2026 09:15:30 +0100", datetime(2026, 3, 3, 8, 15, 30, tzinfo=UTC)),
        ("3 Mar 26 09:15 GMT", datetime(2026, 3, 3, 9, 15, tzinfo=UTC)),
        ("Tue, 03 Mar 2026 09:15:60 -0530 (IST)", datetime(2026, 3, 3, 14, 45, 59, tzinfo=UTC)),
        ("Tue, 3 Mar 2026 09:15:30 (EDT) -0400", datetime(2026, 3, 3, 13, 15, 30, tzinfo=UTC)),
        ("Tue, 3 Mar 2026 09:15:30", datetime(2026, 3, 3, 9, 15, 30, tzinfo=UTC)),
        ("yesterday", None),
        ("Tue, 31 Feb 2026 09:15:30 +0100", None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None),
        ("Sat, 1 Jan 0001 00:00:00 +1400", None),
        ("Tue, 3 Mar 2026 09:15:30 +9999", datetime(2026, 2, 27, 4, 36, 30, tzinfo=UTC)),
    ],
)
def test_date_is_read_or_none(value: str, expected: datetime | None) -> None:
    assert date(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello\r\n\r\n  there", "Hello there"),
        ("> quoted\nmine\n>> quoted", "mine"),
        ("On Mon, 2 Mar 2026 at 18:02,\nBert <bert@example.org> wrote:\n> Who?\n\nMe.", "Me."),
        ("Am 2. März 2026 schrieb Bert:\n> Wer?\nIch.", "Ich."),
        ("Le lun. 2 mars 2026 à 18:02, Bert a écrit :\n> Qui ?\nMoi.", "Moi."),
        ("Yes.\n\n-----Original Message-----\nFrom: Bert\nSent: Monday\nWho?", "Yes."),
        ("Yes.\n\nFrom: Bert\nSent: Monday\nSubject: Who?", "Yes."),
        ("From: Bert\nSent: Monday\n\nforwarded without a word", "From: Bert Sent: Monday forwarded without a word"),
        ("Yes.\n-- \nAnna Berg, Example Ltd.", "Yes."),
        ("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nsigned", "signed"),
        ("> all\n> quoted", ""),
        ("x" * 300, "x" * 100),
    ],
)
def test_snippet_of_text_is_what_the_sender_wrote(text: str, expected: str) -> None:
    assert snippet(text) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>Hello</p><p>there</p>", "Hello there"),
        ("<style>p{}</style><script>x()</script><title>T</title>body", "body"),
        ("<!-- <b>no</b> -->yes", "yes"),
        ("a&nbsp;&amp;&nbsp;b &#8364;", "a & b €"),
        ("Yes.<blockquote>Who? <blockquote>What?</blockquote></blockquote>Me.", "Yes. Me."),
        ('Yes.<div class="gmail_quote"><div>On Monday Bert wrote:</div>Who?</div>', "Yes."),
        (
            'See:<div class="gmail_quote">----- Forwarded message -----<br>News',
            "See: ----- Forwarded message ----- News",
        ),
        ("5 < 6 and <b>7</b> > 6", "5 < 6 and 7 > 6"),
        ("first\u200c \u200c\u00a0\u200c \u200c second", "first second"),
        ("<b", "<b"),
    ],
)
def test_snippet_of_html_is_what_the_sender_wrote(page: str, expected: str) -> None:
    assert html_snippet(page) == expected


def test_html_becomes_text_with_its_lines_and_cells_and_preformatted_parts() -> None:
    table = "<table><tr><td>Nails</td><td>2&nbsp;€</td></tr><tr><td>Glue</td></tr></table>"
    page = f"<h1>Bill</h1>\n{table}<pre>a\n  b</pre>"
    assert html_to_text(page) == "Bill\n\nNails 2 €\n\nGlue\n\na\n  b"


def test_all_fields_are_told_in_order_with_doubles() -> None:
    raw = b"Received: one\r\n by two\r\nX-Odd: =?utf-8?q?=C3=A9?=\r\nReceived: three\r\nx-odd:\r\n\r\nBody: no"
    assert parse_headers(raw) == [("Received", "one by two"), ("X-Odd", "é"), ("Received", "three"), ("x-odd", "")]


def test_inline_image_is_one_that_the_html_shows_or_whose_disposition_says_so() -> None:
    raw = (
        b"Content-Type: multipart/related; boundary=B\n\n--B\nContent-Type: text/html\n\n<img src='cid:a%40x'>\n"
        b"--B\nContent-Type: image/png\nContent-ID: <a@x>\nContent-Disposition: attachment\n\n1\n"
        b"--B\nContent-Type: image/png\nContent-ID: <b@x>\n\n2\n"
        b"--B\nContent-Type: image/png\nContent-Disposition: INLINE; filename=c.png\n\n3\n--B--\n"
    )
    parts = parse_message(raw).attachments
    assert [(part.content_id, part.is_inline) for part in parts] == [("a@x", True), ("b@x", False), (None, True)]


def test_file_name_is_one_line() -> None:
    raw = b"Content-Type: a/b\nContent-Disposition: attachment; filename*=utf-8''a%0D%0Ab.txt\n\n"
    assert parse_message(raw).attachments[0].filename == "a b.txt"


def test_boundary_with_a_colon_delimits_and_is_no_field() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=A:B\n\n--A:B\nContent-Type: text/plain\n--A:B\n\ntwo\n--A:B--\n"
    assert parse_message(raw).text == "\ntwo"


def test_inner_delimiters_of_an_attached_mail_delimit_nothing() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=I\n\n--I\n\nhidden\n--I--"
    raw = b"Content-Type: multipart/mixed; boundary=O\n\n--O\nContent-Type: message/rfc822\n\n" + inner + b"\n--O--\n"
    (part,) = parse_message(raw).attachments
    assert raw[part.offset : part.offset + part.length] == inner


def test_field_without_a_semicolon_between_its_parameters_is_read() -> None:
    raw = b'Content-Type: image/png name="a b.png" charset=x\nContent-Disposition: attachment filename=c d.png\n\n'
    (part,) = parse_message(raw).attachments
    assert (part.content_type, part.filename, part.charset) == ("image/png", "c d.png", "x")


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("base64", base64.encodebytes),
        ("quoted-printable", hexadecimal),
        ("8bit", bytes),
    ],
    ids=["base64", "quoted-printable", "8bit"],
)
def test_body_of_many_slices_decodes_to_what_was_encoded(encoding: str, encode: Callable[[bytes], bytes]) -> None:
    data = bytes(range(256)) * (SLICE // 100)
    body = encode(data)
    assert len(body) > 2 * SLICE
    raw = b"Content-Type: a/b\nContent-Transfer-Encoding: " + encoding.encode() + b"\n\n" + body
    (part,) = parse_message(raw).attachments
    assert part.size == len(data)
    assert b"".join(iter_decoded(raw, part)) == data
    assert max(map(len, iter_decoded(raw, part))) <= SLICE + 100


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        (b"QUJD", "base64", b"ABC"),
        (b"QU JD\r\n!RA", "base64", b"ABCD"),
        (b"QUI=\n-- \nfooter of a list", "base64", b"AB"),
        (b"QUJDR", "base64", b"ABC"),
        (b"=41=4", "quoted-printable", b"A=4"),
        (b"a=\r\nb", "quoted-printable", b"ab"),
        (b"abc", "x-unheard-of", b"abc"),
        (b"no begin", "x-uuencode", b""),
    ],
)
def test_damaged_bodies_give_what_they_hold(body: bytes, encoding: str, expected: bytes) -> None:
    assert decode_part(body, encoding) == expected


def test_mapped_file_reads_as_its_bytes_do(tmp_path: Path) -> None:
    for path in MAILS:
        raw = path.read_bytes()
        if not raw:  # an empty file cannot be mapped
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert parse_message(mapped) == parse_message(raw)
            assert parse_headers(mapped) == parse_headers(raw)
