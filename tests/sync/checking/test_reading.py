"""What the checking client makes of names and answers; the names as the providers store them, by other means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sync.checking.answers import read_answers, read_content, read_listed, read_row
from sync.checking.names import path_of, ref_of
from sync.checking.values import RemoteCopy
from sync.providers.imap_names import decode_name, encode_name, readable_name


def _encoded(text: str) -> bytes:
    try:
        return encode_name(text)
    except UnicodeEncodeError:
        return b""


NAMES = st.binary(max_size=12) | st.text("aé数𝄞&-/,\0\n", max_size=8).map(_encoded)


@given(NAMES)
@example(b"inbox")
@example(b"Entw&APw-rfe")
@example(b"&AA-")
@example(b"&")
@example(b"a&-b&")
@example(b"&2AA-")
@example(b"&ZeVnLIqe-/&U,BTFw-")
@example("Été".encode())
@example("Été".encode("latin-1"))
def test_folder_has_the_ref_that_our_tables_know_it_by(name: bytes) -> None:
    assert ref_of(name) == decode_name(name)
    assert path_of(name, None) == readable_name(decode_name(name))


@pytest.mark.parametrize(
    ("name", "delimiter", "path"),
    [
        (b"a/b", "/", "a/b"),
        (b"a//b/", "/", "a/b"),
        (b"/", "/", "/"),
        (b"INBOX.Entw&APw-rfe", ".", "INBOX.Entwürfe"),
        (b"a/b", None, "a/b"),
    ],
)
def test_path_leaves_out_levels_without_a_name(name: bytes, delimiter: str | None, path: str) -> None:
    assert path_of(name, delimiter) == path


@pytest.mark.parametrize(
    ("text", "literal", "wanted"),
    [
        (rb'(\HasNoChildren) "/" INBOX', b"", (b"INBOX", "/", True)),
        (rb'(\NoSelect \HasChildren) "." "a b"', b"", (b"a b", ".", False)),
        (rb'(\NonExistent) "/" x', b"", (b"x", "/", False)),
        (rb'() NIL "say \"x\" \\"', b"", (b'say "x" \\', None, True)),
        (rb'() "\\" a', b"", (b"a", "\\", True)),
        (rb'() "\" a', b"", (b"a", "\\", True)),
        (rb'() "/" {4} ', b'a"b\n', (b'a"b\n', "/", True)),
        (rb'(\Noselect) "/" ""', b"", None),
        (rb"nonsense", b"", None),
    ],
)
def test_list_answers_are_read(text: bytes, literal: bytes, wanted: tuple[bytes, str | None, bool] | None) -> None:
    read = read_listed(text, literal)
    assert (read and (read.name, read.facts.delimiter, read.facts.selectable)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (rb"3 (UID 7 FLAGS (\Seen $Work) RFC822.SIZE 12)", (7, {"\\Seen", "$Work"}, 12, 3)),
        (rb"3 (RFC822.SIZE 12 FLAGS () UID 7)", (7, set(), 12, 3)),
        (rb'3 (INTERNALDATE "nonsense" RFC822.SIZE 12 FLAGS () UID 7)', (7, set(), 12, 3)),
        (rb"3 (FLAGS (\Recent UID RFC822.SIZE) UID 7 RFC822.SIZE 12)", (7, {"UID", "RFC822.SIZE"}, 12, 3)),
        (rb"3 (FLAGS (\Seen))", None),
        (rb"3 (UID 7 FLAGS (\Seen))", None),
    ],
)
def test_fetch_answers_are_read(text: bytes, wanted: tuple[int, set[str], int, int] | None) -> None:
    read = read_row(text)
    if wanted is None:
        assert read is None
    else:
        uid, flags, size, sequence = wanted
        assert read == (uid, RemoteCopy(frozenset(flags), size, sequence=sequence))


@pytest.mark.parametrize("day", ["07", " 7", "7"])
def test_internal_date_is_read(day: str) -> None:
    read = read_row(f'3 (UID 7 FLAGS () INTERNALDATE "{day}-Mar-2024 22:15:01 +0130" RFC822.SIZE 12)'.encode())
    assert read is not None
    assert read[1].date == datetime(2024, 3, 7, 20, 45, 1, tzinfo=UTC)


def test_answers_split_at_literals_are_joined() -> None:
    data = [(b"1 (UID 5 BODY[] {3}", b"abc"), b")", b"2 (FLAGS ())", (b"3 (BODY[] {0}", b""), b" UID 6)", None]
    assert read_answers(data) == [
        (b"1 (UID 5 BODY[] {3} )", b"abc"),
        (b"2 (FLAGS ())", b""),
        (b"3 (BODY[] {0}  UID 6)", b""),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"1 (UID 5 BODY[] {3} )", b"abc"),
        (b"1 (BODY[]<0> {3}  UID 5)", b"abc"),
        (b'1 (UID 5 BODY[] "")', b""),
        (rb'1 (UID 5 BODY[] "a\\\"b")', rb"a\"b"),
        (b"1 (UID 5 BODY[] NIL)", None),
        (b"1 (UID 5 FLAGS ())", None),
    ],
)
def test_content_is_read_and_what_is_gone_has_none(text: bytes, wanted: bytes | None) -> None:
    assert read_content(text, b"abc") == wanted
