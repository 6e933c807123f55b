"""What a session hears of changes that others make: IDLE, message numbers, CONDSTORE."""

from __future__ import annotations

import time
from collections.abc import Callable

from imapclient import IMAPClient

from project.demo.server import DemoServer
from tests.project.demo.letters import PLAIN, letter
from tests.project.demo.lines import LineClient

Connect = Callable[[], IMAPClient]


def test_idle_client_hears_of_arrival_flag_and_expunge_at_once(server: DemoServer, lines: LineClient) -> None:
    server.append("INBOX", letter(1))
    lines.command("SELECT INBOX")
    lines.send(b"i IDLE\r\n")
    assert lines.line() == b"+ idling"
    began = time.monotonic()
    server.append("INBOX", letter(2))
    assert lines.line() == b"* 2 EXISTS"
    server.set_flags("INBOX", 1, "\\Seen")
    assert lines.line() == b"* 1 FETCH (FLAGS (\\Seen))"
    server.expunge("INBOX", 1)
    assert lines.line() == b"* 1 EXPUNGE"
    assert time.monotonic() - began < 1
    lines.send(b"DONE\r\n")
    assert lines.line() == b"i OK IDLE completed"


def test_numbers_stay_until_the_client_is_told(server: DemoServer, lines: LineClient) -> None:
    for number in range(3):
        server.append("INBOX", letter(number))
    lines.command("SELECT INBOX")
    server.expunge("INBOX", 1)
    server.append("INBOX", letter(9))
    # FETCH must not bring EXPUNGE (RFC 3501 7.4.1), so 3 is still UID 3.
    told = lines.command("FETCH 3 (UID)")
    assert told == [b"* 3 FETCH (UID 3)", b"* 4 EXISTS", b"OK FETCH completed"]
    assert lines.command("NOOP") == [b"* 1 EXPUNGE", b"OK NOOP completed"]
    assert lines.command("FETCH 3 (UID)")[0] == b"* 3 FETCH (UID 4)"


def test_a_message_that_came_and_went_is_never_told(server: DemoServer, lines: LineClient) -> None:
    lines.command("SELECT INBOX")
    server.expunge("INBOX", server.append("INBOX", PLAIN))
    assert lines.command("NOOP") == [b"OK NOOP completed"]


def test_own_changes_are_told_once(server: DemoServer, lines: LineClient) -> None:
    server.append("INBOX", letter(1))
    lines.command("SELECT INBOX")
    assert lines.command("STORE 1 +FLAGS (\\Seen)") == [b"* 1 FETCH (FLAGS (\\Seen))", b"OK STORE completed"]
    assert lines.command("STORE 1 +FLAGS.SILENT (\\Flagged)") == [b"OK STORE completed"]
    assert lines.command("NOOP") == [b"OK NOOP completed"]


def test_condstore_tells_what_changed_since(server: DemoServer, connect: Connect) -> None:
    for number in range(3):
        server.append("INBOX", letter(number))
    client = connect()
    client.enable("CONDSTORE")
    before = client.select_folder("INBOX")[b"HIGHESTMODSEQ"]
    server.set_flags("INBOX", 2, "\\Flagged")
    changed = client.fetch([1, 2, 3], ["FLAGS"], [f"CHANGEDSINCE {before}"])
    assert {uid: data[b"FLAGS"] for uid, data in changed.items()} == {2: (b"\\Flagged",)}
    assert changed[2][b"MODSEQ"] == (before + 1,)
    assert client.folder_status("INBOX", ["HIGHESTMODSEQ"]) == {b"HIGHESTMODSEQ": before + 1}


def test_store_unchangedsince_leaves_changed_messages_alone(server: DemoServer, lines: LineClient) -> None:
    server.append("INBOX", letter(1))
    server.append("INBOX", letter(2))
    lines.command("SELECT INBOX (CONDSTORE)")
    server.set_flags("INBOX", 1, "\\Flagged")
    told = lines.command("UID STORE 1:2 (UNCHANGEDSINCE 3) +FLAGS.SILENT (\\Seen)")
    assert told[-1] == b"OK [MODIFIED 1] Some messages had changed"
    assert b"* 2 FETCH (UID 2 MODSEQ (5))" in told
    assert [flags for flags, _ in server.messages("INBOX").values()] == [{"\\Flagged"}, {"\\Seen"}]


def test_setting_flags_they_have_does_not_raise_modseq(server: DemoServer, lines: LineClient) -> None:
    server.append("INBOX", letter(1), ["\\Seen"])
    lines.command("SELECT INBOX (CONDSTORE)")
    lines.command("STORE 1 +FLAGS (\\Seen)")
    assert lines.command("STATUS INBOX (HIGHESTMODSEQ)")[0] == b'* STATUS "INBOX" (HIGHESTMODSEQ 2)'


def test_search_by_modseq_tells_the_highest(server: DemoServer, lines: LineClient) -> None:
    for number in range(3):
        server.append("INBOX", letter(number))
    lines.command("SELECT INBOX")
    assert lines.command("UID SEARCH MODSEQ 3")[0] == b"* SEARCH 2 3 (MODSEQ 4)"
    assert lines.command("UID SEARCH RETURN (ALL) MODSEQ 3")[0].endswith(b"UID ALL 2:3 MODSEQ 4")


def test_new_uidvalidity_cuts_the_sessions_in_that_mailbox(server: DemoServer, lines: LineClient) -> None:
    server.append("INBOX", letter(1))
    server.append("INBOX", letter(2))
    server.expunge("INBOX", 1)
    before = lines.command("STATUS INBOX (UIDVALIDITY)")[0]
    lines.command("SELECT INBOX")
    after = server.bump_uidvalidity("INBOX")
    assert lines.command("NOOP")[-1].startswith(b"OK")
    assert lines.line().startswith(b"* BYE")
    assert lines.line() == b""
    assert str(after).encode() not in before
    assert server.messages("INBOX") == {1: (frozenset(), letter(2))}


def test_deleted_mailbox_ends_an_idle(server: DemoServer, lines: LineClient) -> None:
    server.create("Box")
    lines.command("SELECT Box")
    lines.send(b"i IDLE\r\n")
    lines.line()
    server.delete("Box")
    assert lines.line().startswith(b"* BYE")


def test_renamed_mailbox_stays_selected(server: DemoServer, lines: LineClient) -> None:
    server.append("Box", letter(1))
    lines.command("SELECT Box")
    server.rename("Box", "Crate")
    assert lines.command("FETCH 1 (UID)") == [b"* 1 FETCH (UID 1)", b"OK FETCH completed"]


def test_two_clients_see_each_others_work(server: DemoServer, connect: Connect) -> None:
    one, other = connect(), connect()
    one.select_folder("INBOX")
    other.select_folder("INBOX")
    one.append("INBOX", PLAIN)
    other.noop()
    other.add_flags([1], ["\\Answered"])
    assert one.get_flags([1]) == {1: (b"\\Answered",)}


def test_commands_are_heard_without_secrets(server: DemoServer, connect: Connect) -> None:
    client = connect()
    client.select_folder("INBOX")
    assert server.heard[-1] == 'SELECT "INBOX"'
    assert not [command for command in server.heard if server.password in command]
