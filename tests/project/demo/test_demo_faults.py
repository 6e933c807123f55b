"""Each misbehaviour happens, as a client sees it, and ends when the faults are taken back."""

from __future__ import annotations

import socket
import time

import pytest

from project.demo.faults import Faults, bye, cut, garble, hang, say
from project.demo.server import DemoServer
from tests.project.demo.letters import PLAIN, letter
from tests.project.demo.lines import LineClient
from tests.project.demo.waiting import wait_until


def logged_in(server: DemoServer) -> LineClient:
    client = LineClient(server.port)
    client.login(server.username, server.password)
    return client


def test_server_that_accepts_and_hangs_says_nothing(server: DemoServer) -> None:
    server.faults = Faults(hang_after_accept=True)
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(1)
        wait_until(lambda: server.connections == 1)
    wait_until(lambda: server.connections == 0)


def test_greeting_can_be_garbage(server: DemoServer) -> None:
    server.faults = Faults(greeting=b"HTTP/1.1 400 Bad Request\r\n")
    with LineClient(server.port) as client:
        assert client.greeting == b"HTTP/1.1 400 Bad Request"


def test_connections_beyond_the_limit_are_refused_in_the_greeting(server: DemoServer) -> None:
    server.faults = Faults(max_connections=1)
    with logged_in(server), LineClient(server.port) as second:
        assert second.greeting == b"* BYE [LIMIT] Too many connections"
        assert second.line() == b""


def test_connections_beyond_the_limit_can_be_refused_at_login(server: DemoServer) -> None:
    server.faults = Faults(max_connections=1, refuse_at="login")
    with logged_in(server), LineClient(server.port) as second:
        assert second.login(server.username, server.password)[-1].startswith(b"NO [LIMIT]")


def test_login_is_accepted_and_then_dropped(server: DemoServer) -> None:
    server.faults = Faults(drop_after_login=True)
    with LineClient(server.port) as client:
        assert client.login(server.username, server.password)[-1].startswith(b"OK")
        assert client.line() == b""


def test_connection_is_cut_in_the_middle_of_an_answer(server: DemoServer) -> None:
    server.append("INBOX", letter(1, lines=1000))
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        server.faults = Faults(cut_after_bytes=5000)
        client.send(b"f UID FETCH 1 BODY.PEEK[]\r\n")
        told = client.line()
        assert told.startswith(b"* 1 FETCH (UID 1 BODY[] {")
        assert 3000 < len(told) < 5000
        assert client.line() == b""


def test_connection_is_cut_instead_of_the_second_fetch(server: DemoServer) -> None:
    server.append("INBOX", PLAIN)
    server.faults = Faults(trips=(cut("FETCH", skip=1, times=1),))
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        assert client.command("UID FETCH 1 FLAGS")[-1].startswith(b"OK")
        assert client.command("UID FETCH 1 FLAGS") == [b""]
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        assert client.command("UID FETCH 1 FLAGS")[-1].startswith(b"OK")


def test_command_is_never_answered(server: DemoServer) -> None:
    server.faults = Faults(trips=(hang("SELECT", only="Box"),))
    server.create("Box")
    with logged_in(server) as client:
        assert client.command("SELECT INBOX")[-1].startswith(b"OK")
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.command("SELECT Box")


def test_bye_is_said_in_the_middle_of_the_session(server: DemoServer) -> None:
    server.faults = Faults(trips=(bye("NOOP", "Shutting down"),))
    with logged_in(server) as client:
        assert client.command("NOOP") == [b"* BYE Shutting down", b""]


@pytest.mark.parametrize(
    "answer", ["NO [THROTTLED] Slow down", "NO [UNAVAILABLE] Later", "NO [LIMIT] Enough", "BAD What"]
)
def test_refusal_is_said_as_often_as_ordered(server: DemoServer, answer: str) -> None:
    server.faults = Faults(trips=(say("STATUS", answer, times=2),))
    with logged_in(server) as client:
        told = [client.command("STATUS INBOX (MESSAGES)")[-1] for _ in range(3)]
    assert told == [answer.encode(), answer.encode(), b"OK STATUS completed"]


def test_garbage_comes_before_a_good_answer(server: DemoServer) -> None:
    server.faults = Faults(trips=(garble("NOOP", "%% nonsense\r\n"),))
    with logged_in(server) as client:
        assert client.command("NOOP") == [b"%% nonsense", b"OK NOOP completed"]


def test_literals_announce_a_wrong_size(server: DemoServer) -> None:
    server.append("INBOX", PLAIN)
    server.faults = Faults(literal_size_error=-7)
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        client.send(b"f UID FETCH 1 BODY.PEEK[]\r\n")
        assert b"{%d}\r\n" % (len(PLAIN) - 7) in client.line()


def test_select_status_and_fetch_leave_things_out(server: DemoServer) -> None:
    server.append("INBOX", PLAIN)
    server.faults = Faults(
        omit=frozenset({"UIDNEXT", "FLAGS", "HIGHESTMODSEQ"}), omit_fetched=frozenset({"FLAGS", "INTERNALDATE"})
    )
    with logged_in(server) as client:
        selected = b"\n".join(client.command("SELECT INBOX"))
        assert not [word for word in (b"UIDNEXT", b"* FLAGS", b"HIGHESTMODSEQ") if word in selected]
        assert client.command("STATUS INBOX (MESSAGES UIDNEXT)")[0] == b'* STATUS "INBOX" (MESSAGES 1)'
        assert client.command("UID FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)")[
            0
        ] == b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % len(PLAIN)


def test_each_item_comes_in_an_answer_of_its_own(server: DemoServer) -> None:
    server.append("INBOX", PLAIN, ["\\Seen"])
    server.faults = Faults(split_fetched=True)
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        assert client.command("UID FETCH 1 (FLAGS RFC822.SIZE)") == [
            b"* 1 FETCH (UID 1 RFC822.SIZE %d)" % len(PLAIN),
            b"* 1 FETCH (UID 1 FLAGS (\\Seen))",
            b"OK UID FETCH completed",
        ]


def test_fetch_data_nobody_asked_for(server: DemoServer) -> None:
    server.append("INBOX", letter(1), ["\\Seen"])
    server.append("INBOX", letter(2))
    server.faults = Faults(unsolicited_fetch=True)
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        assert client.command("UID FETCH 2 FLAGS") == [
            b"* 2 FETCH (UID 2 FLAGS ())",
            b"* 1 FETCH (FLAGS (\\Seen))",
            b"OK UID FETCH completed",
        ]


def test_list_can_be_empty_or_leave_a_folder_out(server: DemoServer) -> None:
    server.create("Box")
    with logged_in(server) as client:
        server.faults = Faults(empty_list=True)
        assert client.command('LIST "" *') == [b"OK LIST completed"]
        server.faults = Faults(unlisted=frozenset({"Box"}))
        assert client.command('LIST "" *')[:-1] == [b'* LIST (\\HasNoChildren) "/" "INBOX"']


def test_folder_lists_but_refuses_select(server: DemoServer) -> None:
    server.create("Box")
    server.faults = Faults(unselectable=frozenset({"Box"}))
    with logged_in(server) as client:
        assert b'* LIST (\\HasNoChildren) "/" "Box"' in client.command('LIST "" *')
        assert client.command("SELECT Box")[-1].startswith(b"NO [NOPERM]")
        assert client.command("STATUS Box (MESSAGES)")[-1].startswith(b"NO [NOPERM]")


def test_full_folder_looks_empty_once(server: DemoServer) -> None:
    server.append("INBOX", PLAIN)
    server.faults = Faults(seems_empty={"INBOX": 1})
    with logged_in(server) as client:
        assert client.command("STATUS INBOX (MESSAGES UIDNEXT)")[0] == b'* STATUS "INBOX" (MESSAGES 0 UIDNEXT 2)'
        assert b"* 0 EXISTS" in client.command("SELECT INBOX")
        assert client.command("UID SEARCH ALL")[0] == b"* SEARCH"
        assert client.command("UID FETCH 1:* FLAGS") == [b"OK UID FETCH completed"]
        assert b"* 1 EXISTS" in client.command("SELECT INBOX")


def test_highestmodseq_falls(server: DemoServer) -> None:
    for number in range(4):
        server.append("INBOX", letter(number))
    with logged_in(server) as client:
        server.faults = Faults(modseq_falls_by=2)
        assert b"* OK [HIGHESTMODSEQ 3] Highest" in client.command("SELECT INBOX")
        assert client.command("UID FETCH 4 (MODSEQ)")[0] == b"* 4 FETCH (UID 4 MODSEQ (3))"
        server.faults = Faults()
        server.lower_modseq("INBOX", 2)
        assert client.command("STATUS INBOX (HIGHESTMODSEQ)")[0] == b'* STATUS "INBOX" (HIGHESTMODSEQ 2)'
        server.add_flags("INBOX", 1, "\\Seen")
        assert client.command("UID FETCH 1:* (UID) (CHANGEDSINCE 2)")[0] == b"* 1 FETCH (UID 1 MODSEQ (3))"


def test_hidden_capabilities_are_neither_offered_nor_understood(server: DemoServer) -> None:
    hidden = {
        "CONDSTORE",
        "UIDPLUS",
        "MOVE",
        "IDLE",
        "SPECIAL-USE",
        "LIST-EXTENDED",
        "LIST-STATUS",
        "ESEARCH",
        "UNSELECT",
    }
    server.append("INBOX", PLAIN)
    server.create("Sent", role="\\Sent")
    server.faults = Faults(hide=frozenset(hidden))
    with logged_in(server) as client:
        assert not hidden & set(client.command("CAPABILITY")[0].decode().split())
        assert not [line for line in client.command("SELECT INBOX") if b"MODSEQ" in line]
        assert client.command("COPY 1 Sent")[-1] == b"OK COPY completed"
        assert b'* LIST (\\HasNoChildren) "/" "Sent"' in client.command('LIST "" *')
        for command in (
            *("UID MOVE 1 Sent", "IDLE", "UNSELECT", "UID EXPUNGE 1", "SELECT INBOX (CONDSTORE)"),
            *("UID SEARCH RETURN (ALL) ALL", 'LIST "" * RETURN (STATUS (MESSAGES))', "STATUS INBOX (HIGHESTMODSEQ)"),
        ):
            assert client.command(command)[-1].startswith(b"BAD"), command


def test_answers_trickle_byte_by_byte(server: DemoServer) -> None:
    with logged_in(server) as client:
        server.faults = Faults(packet_size=1, packet_pause=0.005)
        began = time.monotonic()
        assert client.command("NOOP") == [b"OK NOOP completed"]
        assert time.monotonic() - began > 0.1


def test_answers_can_take_as_long_as_on_a_long_line(server: DemoServer) -> None:
    with logged_in(server) as client:
        server.faults = Faults(answer_delay=0.1)
        began = time.monotonic()
        client.command("NOOP")
        assert time.monotonic() - began >= 0.1


def test_unreadable_message_ends_the_fetch_in_no_but_the_others_come(server: DemoServer) -> None:
    for number in range(3):
        server.append("INBOX", letter(number))
    server.faults = Faults(unreadable=frozenset({2}))
    with logged_in(server) as client:
        client.command("SELECT INBOX")
        told = client.command("UID FETCH 1:3 (BODY.PEEK[])")
        assert [line[:20] for line in told[:-1]] == [b"* 1 FETCH (UID 1 BOD", b"* 3 FETCH (UID 3 BOD"]
        assert told[-1].startswith(b"NO [SERVERBUG]")
        assert client.command("UID FETCH 1:3 (FLAGS)")[-1].startswith(b"OK")


def test_kicked_clients_are_gone_and_may_come_back(server: DemoServer) -> None:
    with logged_in(server):
        server.kick()
        wait_until(lambda: server.connections == 0)
    with logged_in(server) as client:
        assert client.command("NOOP")[-1].startswith(b"OK")


def test_changed_password_locks_out_new_logins(server: DemoServer) -> None:
    with logged_in(server) as old, LineClient(server.port) as new:
        server.change_password("another")
        assert old.command("NOOP")[-1].startswith(b"OK")
        assert new.login("demo", "demo-password")[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
