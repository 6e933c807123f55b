"""Every command, seen by IMAPClient, by imaplib, and line by line where the form of the answer matters."""

from __future__ import annotations

import imaplib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientError, LoginError

from project.demo.server import DemoServer
from tests.project.demo.letters import MIXED, PLAIN, letter
from tests.project.demo.lines import LineClient

Connect = Callable[[], IMAPClient]


def test_wrong_password_is_refused_with_its_code(server: DemoServer) -> None:
    client = IMAPClient("127.0.0.1", server.port, ssl=False)
    with pytest.raises(LoginError, match="AUTHENTICATIONFAILED"):
        client.login(server.username, "wrong")
    client.shutdown()


def test_authenticate_plain_takes_the_same_password(server: DemoServer) -> None:
    client = IMAPClient("127.0.0.1", server.port, ssl=False)
    client.plain_login(server.username, server.password)
    assert client.list_folders()
    client.logout()


def test_imaplib_reads_a_message_back(server: DemoServer) -> None:
    with imaplib.IMAP4("127.0.0.1", server.port) as client:
        client.login(server.username, server.password)
        client.append("INBOX", "(\\Seen)", imaplib.Time2Internaldate(0.0), PLAIN)
        client.select("INBOX")
        _, data = client.uid("FETCH", "1", "(FLAGS INTERNALDATE BODY.PEEK[])")
    assert isinstance(data[0], tuple)
    assert data[0][1] == PLAIN
    assert b'INTERNALDATE " 1-Jan-1970 00:00:00 +0000"' in data[0][0]


def test_append_gives_uid_flags_and_date_back(connect: Connect) -> None:
    client = connect()
    moment = datetime(2025, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    answer = client.append("INBOX", PLAIN, ["\\Flagged", "Urgent"], moment)
    client.select_folder("INBOX")
    client.normalise_times = False
    data = client.fetch([1], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]"])[1]
    assert b"APPENDUID" in answer
    assert set(data[b"FLAGS"]) == {b"\\Flagged", b"Urgent"}
    assert data[b"INTERNALDATE"] == moment
    assert (data[b"RFC822.SIZE"], data[b"BODY[]"]) == (len(PLAIN), PLAIN)


def test_append_to_an_unknown_mailbox_says_trycreate(connect: Connect) -> None:
    with pytest.raises(IMAPClientError, match="TRYCREATE"):
        connect().append("Nowhere", PLAIN)


def test_reading_the_body_marks_as_seen_but_peeking_does_not(server: DemoServer, connect: Connect) -> None:
    uid = server.append("INBOX", PLAIN)
    client = connect()
    client.select_folder("INBOX")
    client.fetch([uid], ["BODY.PEEK[]"])
    assert server.messages("INBOX")[uid][0] == frozenset()
    assert b"\\Seen" in client.fetch([uid], ["BODY[]"])[uid][b"FLAGS"]
    assert server.messages("INBOX")[uid][0] == {"\\Seen"}


def test_examined_mailbox_is_never_changed(server: DemoServer, connect: Connect) -> None:
    uid = server.append("INBOX", PLAIN)
    client = connect()
    client.select_folder("INBOX", readonly=True)
    client.fetch([uid], ["BODY[]"])
    with pytest.raises(IMAPClientError, match="READ-ONLY"):
        client.add_flags([uid], ["\\Deleted"])
    assert server.messages("INBOX")[uid][0] == frozenset()


@pytest.mark.parametrize(
    ("item", "label", "expected"),
    [
        ("BODY.PEEK[1]", b"BODY[1]", b"first"),
        ("BODY.PEEK[1.MIME]", b"BODY[1.MIME]", b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"),
        ("BODY.PEEK[2]", b"BODY[2]", PLAIN),
        ("BODY.PEEK[2.TEXT]", b"BODY[2.TEXT]", b"See you there.\r\n"),
        ("BODY.PEEK[2.1]", b"BODY[2.1]", b"See you there.\r\n"),
        ("BODY.PEEK[3]", b"BODY[3]", b"AAEC"),
        ("BODY.PEEK[4]", b"BODY[4]", None),
        ("BODY.PEEK[2.HEADER.FIELDS (TO)]", b"BODY[2.HEADER.FIELDS (TO)]", b"To: Bo <bo@example.org>\r\n\r\n"),
        ("BODY.PEEK[]<6.4>", b"BODY[]<6>", b"Ada "),
        ("BODY.PEEK[]<99999.4>", b"BODY[]<99999>", b""),
        ("BODY.PEEK[TEXT]<0.8>", b"BODY[TEXT]<0>", b"preamble"),
    ],
)
def test_sections_are_exact_slices(
    server: DemoServer, connect: Connect, item: str, label: bytes, expected: bytes | None
) -> None:
    uid = server.append("INBOX", MIXED)
    client = connect()
    client.select_folder("INBOX")
    assert client.fetch([uid], [item])[uid][label] == expected


def test_header_fields_not_leaves_the_named_ones_out(server: DemoServer, connect: Connect) -> None:
    uid = server.append("INBOX", PLAIN)
    client = connect()
    client.select_folder("INBOX")
    data = client.fetch([uid], ["BODY.PEEK[HEADER.FIELDS.NOT (From To Subject Date)]"])[uid]
    assert b"Message-ID: <plain@example.com>\r\n\r\n" in data.values()


def test_bodystructure_describes_nested_parts(server: DemoServer, connect: Connect) -> None:
    uid = server.append("INBOX", MIXED)
    client = connect()
    client.select_folder("INBOX")
    parts, subtype, *_ = client.fetch([uid], ["BODYSTRUCTURE"])[uid][b"BODYSTRUCTURE"]
    assert subtype == b"MIXED"
    assert [part[:2] for part in parts] == [
        (b"TEXT", b"PLAIN"),
        (b"MESSAGE", b"RFC822"),
        (b"APPLICATION", b"OCTET-STREAM"),
    ]
    assert parts[1][7][1] == b"=?utf-8?q?Caf=C3=A9_at_noon?="
    assert parts[2][8] == (b"ATTACHMENT", (b"FILENAME", b"a.bin"))


def test_search_finds_by_flag_header_text_date_and_set(server: DemoServer, connect: Connect) -> None:
    server.append("INBOX", PLAIN, ["\\Seen"], datetime(2026, 1, 1, tzinfo=UTC))
    server.append("INBOX", letter(2, lines=500), ["Work"], datetime(2026, 2, 1, tzinfo=UTC))
    server.append("INBOX", MIXED, ["\\Flagged"], datetime(2026, 3, 1, tzinfo=UTC))
    client = connect()
    client.select_folder("INBOX")
    assert client.search(["ALL"]) == [1, 2, 3]
    assert client.search(["UNSEEN"]) == [2, 3]
    assert client.search(["OR", "FLAGGED", "SEEN"]) == [1, 3]
    assert client.search(["NOT", ["OR", "FLAGGED", "SEEN"]]) == [2]
    assert client.search(["KEYWORD", "work"]) == [2]
    assert client.search(["HEADER", "Message-ID", "plain@"]) == [1]
    assert client.search(["SUBJECT", "Café"], "UTF-8") == [1]
    assert client.search(["BODY", "first"]) == [3]
    assert client.search(["SINCE", datetime(2026, 2, 1).date(), "BEFORE", datetime(2026, 3, 1).date()]) == [2]
    assert client.search(["SENTON", datetime(2026, 10, 5).date()]) == [1]
    assert client.search(["LARGER", 5000]) == [2]
    assert client.search(["UID", "2:*"]) == [2, 3]
    assert client.search(["UID", "900:*"]) == [3]


def test_esearch_answers_in_ranges(server: DemoServer, lines: LineClient) -> None:
    for number in range(5):
        server.append("INBOX", letter(number))
    server.expunge("INBOX", 3)
    lines.command("SELECT INBOX")
    assert lines.command("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL")[0].endswith(
        b"UID MIN 1 MAX 5 COUNT 4 ALL 1:2,4:5"
    )
    assert lines.command("UID SEARCH RETURN () UID 4:5")[0].endswith(b"UID ALL 4:5")
    assert lines.command("SEARCH RETURN (ALL) SEEN")[0].startswith(b"* ESEARCH (TAG ")
    assert lines.command("SEARCH CHARSET KLINGON ALL")[-1].startswith(b"NO [BADCHARSET")


def test_copy_move_and_expunge_report_the_new_uids(server: DemoServer, connect: Connect) -> None:
    for number in range(4):
        server.append("INBOX", letter(number), ["\\Seen"])
    server.create("Box")
    client = connect()
    client.select_folder("INBOX")
    client.copy([1, 2], "Box")
    client.move([3], "Box")
    client.add_flags([4], ["\\Deleted"])
    client.uid_expunge([1])
    assert list(server.messages("INBOX")) == [1, 2, 4]
    client.uid_expunge([4])
    assert list(server.messages("INBOX")) == [1, 2]
    assert server.messages("Box") == {uid: (frozenset({"\\Seen"}), letter(uid - 1)) for uid in (1, 2, 3)}


def test_move_tells_copyuid_before_the_expunges(server: DemoServer, lines: LineClient) -> None:
    for number in range(3):
        server.append("INBOX", letter(number))
    server.create("Box")
    lines.command("SELECT INBOX")
    told = lines.command("UID MOVE 1,3 Box")
    assert told[0].startswith(b"* OK [COPYUID ")
    assert told[0].endswith(b" 1,3 1:2] Moved")
    assert told[1:] == [b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"OK UID MOVE completed"]


def test_folders_are_made_renamed_with_children_and_deleted(server: DemoServer, connect: Connect) -> None:
    client = connect()
    client.create_folder("Projects/2025/Website")
    client.create_folder("Entwürfe & Ideen/日本")
    server.append("Projects/2025/Website", PLAIN)
    client.rename_folder("Projects", "Work/Old")
    client.delete_folder("Entwürfe & Ideen")
    names = {name: flags for flags, _, name in client.list_folders()}
    assert set(names) == {
        *("INBOX", "Work", "Work/Old", "Work/Old/2025", "Work/Old/2025/Website"),
        *("Entwürfe & Ideen", "Entwürfe & Ideen/日本"),
    }
    assert b"\\Noselect" in names["Entwürfe & Ideen"]
    assert server.messages("Work/Old/2025/Website")[1][1] == PLAIN
    assert client.list_folders("", "Work/%") == [((b"\\HasChildren",), b"/", "Work/Old")]


def test_international_names_travel_as_modified_utf7(server: DemoServer, lines: LineClient) -> None:
    server.create("Entwürfe")
    server.create("R&D")
    assert b'* LIST (\\HasNoChildren) "/" "Entw&APw-rfe"' in lines.command('LIST "" *')
    assert b'* LIST (\\HasNoChildren) "/" "R&-D"' in lines.command('LIST "" *')


def test_renaming_inbox_moves_only_its_mail(server: DemoServer, connect: Connect) -> None:
    server.append("INBOX", PLAIN)
    client = connect()
    client.rename_folder("INBOX", "Old mail")
    assert server.messages("INBOX") == {}
    assert server.messages("Old mail")[1][1] == PLAIN


def test_subscriptions_show_in_lsub(connect: Connect) -> None:
    client = connect()
    client.create_folder("News")
    client.unsubscribe_folder("News")
    assert [name for _, _, name in client.list_sub_folders()] == ["INBOX"]
    client.subscribe_folder("News")
    assert [name for _, _, name in client.list_sub_folders()] == ["INBOX", "News"]


def test_list_status_brings_everything_in_one_round_trip(server: DemoServer, lines: LineClient) -> None:
    server.create("Sent", role="\\Sent")
    server.append("Sent", PLAIN, ["\\Seen"])
    told = lines.command('LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES UIDNEXT UNSEEN HIGHESTMODSEQ))')
    assert b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"' in told
    assert b'* STATUS "Sent" (MESSAGES 1 UIDNEXT 2 UNSEEN 0 HIGHESTMODSEQ 2)' in told


def test_special_use_can_be_asked_for(server: DemoServer, connect: Connect) -> None:
    server.create("Papierkorb", role="\\Trash")
    assert connect().find_special_folder(b"\\Trash") == "Papierkorb"


def test_closing_expunges_and_unselect_does_not(server: DemoServer, connect: Connect) -> None:
    server.append("INBOX", PLAIN, ["\\Deleted"])
    client = connect()
    client.select_folder("INBOX")
    client.unselect_folder()
    assert len(server.messages("INBOX")) == 1
    client.select_folder("INBOX")
    client.close_folder()
    assert server.messages("INBOX") == {}


def test_synchronising_and_other_literals_both_work(server: DemoServer, lines: LineClient) -> None:
    server.create("Box")
    lines.send(b"a SELECT {3}\r\n")
    assert lines.line().startswith(b"+ ")
    lines.send(b"Box\r\n")
    while not (line := lines.line()).startswith(b"a "):
        pass
    assert line == b"a OK [READ-WRITE] SELECT completed"
    assert lines.command(b"STATUS {3+}\r\nBox (MESSAGES)")[0] == b'* STATUS "Box" (MESSAGES 0)'


def test_nonsense_is_answered_bad_and_the_session_goes_on(lines: LineClient) -> None:
    assert lines.command("FROBNICATE")[-1].startswith(b"BAD")
    assert lines.command("SELECT (INBOX")[-1].startswith(b"BAD")
    assert lines.command("FETCH 1 FLAGS")[-1].startswith(b"BAD")
    lines.command("SELECT INBOX")
    assert lines.command("FETCH 7 FLAGS")[-1].startswith(b"BAD")
    assert lines.command("UID FETCH 7 FLAGS")[-1].startswith(b"OK")
    assert lines.command("UID FETCH x FLAGS")[-1].startswith(b"BAD")
    assert lines.command("NOOP")[-1].startswith(b"OK")


def test_broken_mail_has_a_structure_all_the_same(server: DemoServer, connect: Connect) -> None:
    broken = [
        b"",
        b"\r\n",
        b"no header at all",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\nnever closed',
        b"Content-Type: \xff\xfe/;;=\r\nFrom: \x00\r\nSubject: =?x?q?y?=\r\n\r\n\x00",
        b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n' * 80,
    ]
    uids = [server.append("INBOX", raw) for raw in broken]
    client = connect()
    client.select_folder("INBOX")
    data = client.fetch(uids, ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[]"])
    assert [data[uid][b"BODY[]"] for uid in uids] == broken
    assert client.search(["TEXT", "closed"]) == [5]
