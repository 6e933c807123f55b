"""Mailbox names: modified UTF-7 (RFC 3501 5.1.3) there and back, and names that are none."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync.errors import FolderGone
from sync.providers.imap_names import VERBATIM, decode_name, encode_name, quote_name, readable_name


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        (b"INBOX", "INBOX"),
        (b"inbox", "INBOX"),
        (b"Archive/2024", "Archive/2024"),
        # RFC 3501 5.1.3
        (b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語"),
        (b"Entw&APw-rfe", "Entwürfe"),
        (b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-", "Отправленные"),
        (b"R&-D", "R&D"),
        (b"&2Dzfhg-", "🎆"),
        (b"INBOX.&AMk-t&AOk-", "INBOX.Été"),
    ],
)
def test_names_are_read_and_written_as_the_standard_says(wire: bytes, name: str) -> None:
    assert decode_name(wire) == name
    assert encode_name(name) == (b"INBOX" if name == "INBOX" else wire)


@pytest.mark.parametrize(
    ("wire", "shown"),
    [
        (b"Entw\xc3\xbcrfe", "Entwürfe"),
        (b"Entw\xfcrfe", "Entw\ufffdrfe"),
        (b"stray & sign", "stray & sign"),
        (b"&AGEAYg-", "ab"),
        (b"&2Dw-", "&2Dw-"),
        (b"&!!-", "&!!-"),
        (b"&AAA-", "\ufffd"),
    ],
    ids=["utf-8", "latin-1", "stray ampersand", "ascii in base64", "half a pair", "no base64", "NUL"],
)
def test_names_that_are_no_utf7_keep_their_bytes_and_show_something(wire: bytes, shown: str) -> None:
    ref = decode_name(wire)
    assert ref.startswith(VERBATIM)
    assert encode_name(ref) == wire
    assert readable_name(ref) == shown


@given(st.binary(max_size=40))
@example(b"&-&-")
@example(b"&AAA-")
@example(b"a\0b")
def test_whatever_the_server_calls_a_mailbox_it_is_called_so_again(wire: bytes) -> None:
    ref = decode_name(wire)
    assert encode_name(ref) == (b"INBOX" if wire.upper() == b"INBOX" else wire)
    # PostgreSQL stores neither NUL nor lone surrogates
    assert "\0" not in ref + readable_name(ref)
    (ref + readable_name(ref)).encode()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
def test_every_name_people_give_survives(name: str) -> None:
    if name.upper() != "INBOX" and not name.startswith(VERBATIM):
        assert decode_name(encode_name(name)) == name


def test_quotes_and_backslashes_are_escaped_and_line_breaks_refused() -> None:
    assert quote_name('a "b" c\\d') == b'"a \\"b\\" c\\\\d"'
    assert quote_name("Größe") == b'"Gr&APYA3w-e"'
    with pytest.raises(FolderGone):
        quote_name(decode_name(b"two\r\nlines"))
