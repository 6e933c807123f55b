"""Answers as servers really give them: split, out of order, cut off, garbage. Nothing is lost, nothing made up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from project.demo.faults import Faults, bye, cut, garble, say
from project.demo.server import DemoServer
from sync.errors import FolderGone, MailError, ServerMisbehaved, Throttled, Transient, Unreachable
from sync.providers import open_session
from sync.providers.base import Login, MailSession
from sync.providers.imap_parse import (
    Garbled,
    format_sets,
    parse_fetch_row,
    parse_flags,
    parse_internal_date,
    parse_set,
    parse_uid_flags,
    parse_values,
    response_code,
)
from tests.sync.letters import arrived_at, letter
from tests.sync.providers.contract import FollowedFolder, raw_of

MAILS = 5


@pytest.fixture
def server() -> Iterator[DemoServer]:
    """INBOX holds MAILS mails, UIDs from 1 on; the even ones are read."""
    with DemoServer() as running:
        for number in range(MAILS):
            running.append("INBOX", letter(number), ["\\Seen"] if number % 2 else [], arrived_at(number))
        yield running


def login_to(server: DemoServer) -> Login:
    return Login("imap", "127.0.0.1", server.port, "none", "demo", "demo-password", private_networks=("127.0.0.0/8",))


@pytest.fixture
def session(server: DemoServer) -> Iterator[MailSession]:
    opened = open_session(login_to(server))
    yield opened
    opened.close()


def fetched(session: MailSession, *uids: int) -> dict[int, tuple[bytes, frozenset[str], datetime | None]]:
    """Fetch messages of INBOX: UID -> raw, flags, date."""
    messages = session.fetch("INBOX", [str(uid) for uid in uids])
    return {int(one.remote_id): (raw_of(one), one.flags, one.internal_date) for one in messages}


def held(*uids: int) -> dict[int, tuple[bytes, frozenset[str], datetime | None]]:
    """What `fetched` must return."""
    seen = {uid: frozenset({"\\Seen"} if uid % 2 == 0 else ()) for uid in uids}
    return {uid: (letter(uid - 1), seen[uid], arrived_at(uid - 1)) for uid in uids}


# FETCH answers that are not one line a message


def test_items_that_come_in_answers_of_their_own_are_put_together(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(split_fetched=True)
    assert fetched(session, 5, 1, 2) == held(5, 1, 2)
    prints = session.fingerprints("INBOX", ["1", "2"], message_ids=True)
    assert [(one.size, one.message_id, one.flags) for one in prints] == [
        (len(letter(number)), f"note-{number}@example.com", held(number + 1)[number + 1][1]) for number in range(2)
    ]


def test_flags_that_the_server_leaves_out_are_asked_for_again(server: DemoServer, session: MailSession) -> None:
    late = "* 2 FETCH (UID 2 FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS () UID 3)\r\n"
    server.faults = Faults(omit_fetched=frozenset({"FLAGS"}), trips=(garble("FETCH", late, skip=1),))
    server.forget_heard()
    assert fetched(session, 2, 3) == held(2, 3)
    assert [one for one in server.heard if "FETCH" in one][1:] == ["UID FETCH 2:3 (UID FLAGS)"]


def test_message_whose_flags_never_come_is_never_dropped_in_silence(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(omit_fetched=frozenset({"FLAGS"}))
    with pytest.raises(ServerMisbehaved, match="brings no flags"):
        fetched(session, 1, 2)


def test_message_that_vanishes_before_its_flags_are_told_is_left_out(server: DemoServer, session: MailSession) -> None:
    session.changes("INBOX", None, relist=True)
    body = "* 1 FETCH (UID 1 BODY[]<0> {2}\r\nhi)\r\n"
    server.faults = Faults(trips=(garble("FETCH", body, times=1),))
    server.expunge("INBOX", 1)
    assert fetched(session, 1, 2) == held(2)


def test_flags_told_last_count(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(trips=(garble("FETCH", "* 1 FETCH (UID 1 FLAGS (\\Deleted))\r\n", times=1),))
    assert fetched(session, 1) == held(1)


def test_fetch_data_nobody_asked_for_changes_nothing(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(unsolicited_fetch=True)
    followed = FollowedFolder(session, "INBOX")
    followed.look()
    assert {int(uid): followed.flags[uid] for uid in followed.flags} == {
        uid: flags for uid, (_, flags, _) in held(*range(1, MAILS + 1)).items()
    }
    assert fetched(session, 4, 2) == held(4, 2)


def test_body_that_is_nil_is_no_empty_mail(server: DemoServer, session: MailSession) -> None:
    server.expunge("INBOX", 1)
    nil = '* 1 FETCH (UID 1 FLAGS () INTERNALDATE "17-May-2024 09:30:00 +0000" RFC822.SIZE 9 BODY[]<0> NIL)\r\n'
    server.faults = Faults(trips=(garble("FETCH", nil),))
    assert fetched(session, 1, 2) == held(2)


def test_unreadable_message_does_not_hide_the_others(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(unreadable=frozenset({3}))
    assert fetched(session, 4, 3, 2) == held(4, 2)


# Bytes in odd packets


@pytest.mark.parametrize("size", [1, 2, 7])
def test_answers_may_come_in_packets_of_any_size(server: DemoServer, session: MailSession, size: int) -> None:
    server.faults = Faults(packet_size=size)
    delta = session.changes("INBOX", None, relist=True)
    assert delta.present == frozenset(map(str, range(1, MAILS + 1)))
    assert fetched(session, 5, 4, 3, 2, 1) == held(5, 4, 3, 2, 1)
    assert session.status(["INBOX"])["INBOX"].messages == MAILS


@pytest.mark.parametrize("after", [1, 10, 30, 60, 100, 200, 500, 1000])
def test_connection_cut_anywhere_is_unreachable(server: DemoServer, session: MailSession, after: int) -> None:
    session.changes("INBOX", None, relist=True)
    server.faults = Faults(cut_after_bytes=after)
    with pytest.raises(Unreachable):
        fetched(session, 1, 2, 3)
    with pytest.raises(Unreachable):
        session.changes("INBOX", None, relist=True)


# Words instead of answers


def test_bye_instead_of_an_answer_says_why(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(trips=(bye("EXAMINE", "Shutting down"),))
    with pytest.raises(Unreachable, match="Shutting down"):
        session.changes("INBOX", None, relist=True)


def test_bye_of_a_server_with_too_many_connections_asks_to_wait(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(trips=(bye("FETCH", "[UNAVAILABLE] Too many connections"),))
    with pytest.raises(Throttled):
        fetched(session, 1)


def test_bye_inside_an_answer_ends_it(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(trips=(garble("FETCH", "* 1 FETCH (UID 1 FLAGS ())\r\n* BYE Maintenance\r\n"),))
    with pytest.raises(Unreachable, match="Maintenance"):
        fetched(session, 1)


def test_server_that_hangs_up_without_a_word_is_unreachable(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(trips=(cut("FETCH"),))
    with pytest.raises(Unreachable):
        fetched(session, 1)


@pytest.mark.parametrize("garbage", ["@@ \x00 ))((\r\n", "+ go ahead\r\n", "M999 OK done\r\n", "HTTP/1.1 200 OK\r\n"])
def test_garbage_between_answers_is_misbehaviour(server: DemoServer, session: MailSession, garbage: str) -> None:
    server.faults = Faults(trips=(garble("FETCH", garbage),))
    with pytest.raises(ServerMisbehaved, match="unexpected answer"):
        fetched(session, 1)


@pytest.mark.parametrize(
    "unknown",
    [
        "* 1 FETCH ((((\r\n",
        "* 1 FETCH (UID 1 BODY[\r\n",
        "* 1 FETCH\r\n",
        "* OK [ALERT] Hello\r\n",
        "* VANISHED 9\r\n",
        "* 99 EXISTS\r\n",
        "\r\n",
        '* XUNKNOWN ("a" {3}\r\nxyz)\r\n',
    ],
)
def test_untagged_answers_that_mean_nothing_to_us_are_passed_over(
    server: DemoServer, session: MailSession, unknown: str
) -> None:
    server.faults = Faults(trips=(garble("FETCH", unknown),))
    assert fetched(session, 1, 2) == held(1, 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("NO [NONEXISTENT] Unknown Mailbox: INBOX", FolderGone),
        ("NO Mailbox doesn't exist: INBOX", FolderGone),
        ("NO Mailbox does not exist", FolderGone),
        ("NO [SERVERBUG] Internal error", Transient),
        ("NO System I/O error", Transient),
        ("NO [INUSE] Locked", Throttled),
        ("BAD Unknown command", ServerMisbehaved),
    ],
)
def test_refused_folder_tells_what_to_do_next(
    server: DemoServer, session: MailSession, answer: str, error: type[MailError]
) -> None:
    server.faults = Faults(trips=(say("EXAMINE", answer),))
    with pytest.raises(error) as raised:
        session.changes("INBOX", None, relist=True)
    assert type(raised.value) is error


def test_folder_that_is_listed_but_does_not_exist_cannot_be_opened(server: DemoServer, session: MailSession) -> None:
    server.create("Ghost")
    server.create("Locked")
    refused = (
        say("STATUS", "NO Mailbox doesn't exist: Ghost", only="Ghost"),
        say("STATUS", "NO [NOPERM] Not yours", only="Locked"),
    )
    server.faults = Faults(trips=refused, hide=frozenset({"LIST-STATUS"}))
    # what is offered is asked once, at the login
    opened = open_session(login_to(server))
    listing = {folder.ref: folder.selectable for folder in opened.folders().folders}
    opened.close()
    assert listing == {"INBOX": True, "Ghost": False, "Locked": True}


def test_empty_listing_is_misbehaviour_not_a_mailbox_without_folders(server: DemoServer, session: MailSession) -> None:
    server.faults = Faults(empty_list=True)
    with pytest.raises(ServerMisbehaved):
        session.folders()


# Reading, purely


@pytest.mark.parametrize(
    ("pieces", "values"),
    [
        ([b'* LIST (\\HasChildren) "/" "a \\"b\\""'], [b"*", b"LIST", [b"\\HasChildren"], b"/", b'a "b"']),
        ([b"* STATUS {5}", b"a (b)", b" (MESSAGES 3)"], [b"*", b"STATUS", b"a (b)", [b"MESSAGES", b"3"]]),
        ([b"* X NIL (nil NIL) []"], [b"*", b"X", None, [None, None], b"[]"]),
    ],
)
def test_values_are_read_with_quotes_and_literals(pieces: list[bytes], values: list[object]) -> None:
    assert parse_values(pieces) == values


def test_literal_with_nul_bytes_is_read() -> None:
    # RFC 3516: literal8
    row = parse_fetch_row([b"* 1 FETCH (UID 3 BODY[]<0> ~{2}", b"\0)", b" FLAGS (\\Seen))"])
    assert row is not None
    assert (row.uid, row.flags, row.literals) == (3, frozenset({"\\Seen"}), {b"BODY[]<0>": b"\0)"})


@pytest.mark.parametrize("line", [b"* X (", b"* X )", b'* X "open', b"* X (a (b)"])
def test_broken_grammar_is_garbled(line: bytes) -> None:
    with pytest.raises(Garbled):
        parse_values([line])


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5))
@example([b"* 1 FETCH (UID 1 BODY[] {1}", b"x", b")"])
def test_reading_any_bytes_gives_a_value_or_garbled(pieces: list[bytes]) -> None:
    for line in (pieces, [b"* 1 FETCH (UID 7 " + pieces[0], *pieces[1:]]):
        try:
            parse_values(line)
            parse_fetch_row(list(line))
        except Garbled:
            pass
        parse_uid_flags(line[0])
        response_code(line[0])
        parse_internal_date(line[0])
        parse_flags(line[0])


@given(st.sets(st.integers(1, 2**32 - 1), max_size=200), st.integers(1, 50))
def test_sets_name_all_ids_once_in_pieces_a_server_accepts(ids: set[int], most: int) -> None:
    told = list(format_sets(ids, most_ids=most))
    assert [uid for _, text in told for uid in parse_set(text)] == sorted(ids)
    assert all(len(batch) <= most and len(text) < 4100 for batch, text in told)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"17-May-2024 09:30:00 +0000", datetime(2024, 5, 17, 9, 30, tzinfo=UTC)),
        (b" 7-Feb-2024 23:30:00 -0130", datetime(2024, 2, 8, 1, 0, tzinfo=UTC)),
        (b"7-FEB-2024 1:02:03", datetime(2024, 2, 7, 1, 2, 3, tzinfo=UTC)),
        (b"31-Feb-2024 09:30:00 +0000", None),
        (b"01-Jan-0001 00:00:00 +1200", None),
        (b"01-Jan-0000 00:00:00 +0000", None),
        (b"never", None),
    ],
)
def test_internal_dates_are_read_in_utc(text: bytes, moment: datetime | None) -> None:
    assert parse_internal_date(text) == moment


def test_flags_keep_their_spelling_and_recent_goes() -> None:
    assert parse_flags(b"\\SEEN \\recent $Forwarded NonJunk \\*") >= {"\\Seen", "$Forwarded", "NonJunk"}
    assert not {flag.lower() for flag in parse_flags(b"\\Recent")}
