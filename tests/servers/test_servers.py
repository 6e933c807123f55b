"""The servers do what the tests of mirroring rely on, and the control client reads what it wrote."""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.servers.courier import Courier
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox, Refused, folder_name, mailbox_name
from tests.servers.processes import accepts, group_members, processes_with
from tests.servers.server import ImapServer

#: Letters of two encodings and a long line.
LETTER = "Subject: Grüße\r\nMessage-ID: <1@example.org>\r\n\r\n".encode() + b"\xff\xfe" + b"x" * 5000 + b"\r\n"
ALL = ("dovecot", "dovecot_plain", "cyrus", "courier")


@pytest.fixture(params=ALL)
def server(request: pytest.FixtureRequest) -> ImapServer:
    found: ImapServer = request.getfixturevalue(request.param)
    return found


def below_inbox(server: ImapServer, *levels: str) -> str:
    """Name a folder as the server wants it."""
    return ".".join(("INBOX", *levels)) if isinstance(server, Courier) else "/".join(levels)


def test_appended_message_comes_back_with_flags_and_date(server: ImapServer) -> None:
    date = datetime(2019, 2, 28, 23, 59, 58, tzinfo=timezone(timedelta(hours=-5)))
    with server.connect(server.new_user()) as box:
        uid = box.append("INBOX", LETTER, [r"\Seen", "$Forwarded"], date)
        message = box.messages("INBOX")[uid]
    assert message.raw == LETTER
    assert message.flags == {r"\Seen", "$Forwarded"}
    assert message.internal_date == date


def test_new_users_have_mailboxes_of_their_own(server: ImapServer) -> None:
    with server.connect(server.new_user()) as one, server.connect(server.new_user()) as other:
        one.append("INBOX", LETTER)
        assert (len(one.uids("INBOX")), len(other.uids("INBOX"))) == (1, 0)


def test_copy_and_move_tell_where_each_message_went(server: ImapServer) -> None:
    target = below_inbox(server, "Ablage", "Üb & rig")
    with server.connect(server.new_user()) as box:
        box.create(target)
        first, second, third = (box.append("INBOX", LETTER + str(n).encode() + b"\r\n") for n in range(3))
        copies = box.copy("INBOX", [third, first], target)
        moved = box.move("INBOX", second, target)
        there = box.messages(target)
        assert box.uids("INBOX") == [first, third]
    assert there[copies[first]].raw.endswith(b"0\r\n")
    assert there[copies[third]].raw.endswith(b"2\r\n")
    assert there[moved[second]].raw.endswith(b"1\r\n")


def test_expunge_takes_only_the_messages_named(server: ImapServer) -> None:
    with server.connect(server.new_user()) as box:
        first, second, third = (box.append("INBOX", LETTER) for _ in range(3))
        box.flag("INBOX", third, add=[r"\Deleted"])
        box.expunge("INBOX", [first])
        assert box.flags("INBOX") == {second: frozenset(), third: {r"\Deleted"}}


def test_flags_are_set_and_cleared(server: ImapServer) -> None:
    with server.connect(server.new_user()) as box:
        uid = box.append("INBOX", LETTER, [r"\Flagged"])
        box.flag("INBOX", [uid], add=[r"\Seen", "work"], remove=[r"\Flagged"])
        assert box.flags("INBOX") == {uid: {r"\Seen", "work"}}


def test_folders_are_created_renamed_and_deleted(server: ImapServer) -> None:
    old, new = below_inbox(server, "日本語"), below_inbox(server, "Projekte & mehr")
    with server.connect(server.new_user()) as box:
        before = box.folders()
        box.create(old)
        uid = box.append(old, LETTER)
        box.rename(old, new)
        assert sorted([*before, new]) == box.folders()
        assert box.uids(new) == [uid]
        box.delete(new)
        assert box.folders() == before
        with pytest.raises(Refused):
            box.select(new)


def test_bumped_folder_has_a_new_uidvalidity_and_the_same_messages(server: ImapServer) -> None:
    folder = below_inbox(server, "Ärger")
    with server.connect(server.new_user()) as box:
        box.create(folder)
        box.append(folder, LETTER, [r"\Flagged"], datetime(2020, 1, 1, tzinfo=UTC))
        [kept], before = box.messages(folder).values(), box.status(folder, "UIDVALIDITY")
        box.bump_uidvalidity(folder)
        [after] = box.messages(folder).values()
        assert box.status(folder, "UIDVALIDITY") != before
    assert (after.raw, after.flags, after.internal_date) == (kept.raw, kept.flags, kept.internal_date)


def test_kick_cuts_the_sessions_of_one_user_only(server: ImapServer) -> None:
    victim, bystander = server.new_user(), server.new_user()
    with server.connect(victim) as cut, server.connect(bystander) as kept:
        server.kick(victim)
        with pytest.raises((imaplib.IMAP4.abort, ConnectionError)):
            cut.folders()
        assert "INBOX" in kept.folders()


def test_wrong_password_is_refused(server: ImapServer) -> None:
    client = imaplib.IMAP4("127.0.0.1", server.port, timeout=20)
    with pytest.raises(imaplib.IMAP4.error):
        client.login(server.new_user().username, "wrong")
    client.shutdown()


@pytest.mark.parametrize("name", ["dovecot", "cyrus"])
@pytest.mark.parametrize("starttls", [False, True])
def test_certificate_is_good_for_both_ways_of_tls(name: str, starttls: bool, request: pytest.FixtureRequest) -> None:
    server: ImapServer = request.getfixturevalue(name)
    user = server.new_user()
    assert user.tls_port is not None
    trusting = ssl.create_default_context(cafile=user.certificate)
    client = (
        imaplib.IMAP4(user.host, user.port, timeout=20)
        if starttls
        else imaplib.IMAP4_SSL(user.host, user.tls_port, ssl_context=trusting, timeout=20)
    )
    with client:
        if starttls:
            client.starttls(trusting)
        assert client.login(user.username, user.password)[0] == "OK"


def test_dovecot_and_cyrus_tell_of_modern_extensions_and_the_others_do_not(
    dovecot: Dovecot, cyrus: Cyrus, dovecot_plain: Dovecot, courier: Courier
) -> None:
    modern = {"CONDSTORE", "QRESYNC", "MOVE", "SPECIAL-USE", "LIST-STATUS", "ESEARCH"}
    servers: list[ImapServer] = [dovecot, cyrus]
    for server in servers:
        with server.connect(server.new_user()) as box:
            assert modern <= box.powers
            assert {"Drafts", "Sent", "Trash", "Junk", "Archive"} <= set(box.folders())
    servers = [dovecot_plain, courier]
    for server in servers:
        with server.connect(server.new_user()) as box:
            assert not modern & box.powers


@pytest.mark.parametrize("kind", ["dovecot", "cyrus"])
def test_killed_server_comes_back_on_its_ports_with_what_it_held(kind: str, request: pytest.FixtureRequest) -> None:
    start: Callable[[], ImapServer] = request.getfixturevalue(f"start_{kind}")
    server = start()
    user = server.new_user()
    with server.connect(user) as box:
        uid = box.append("INBOX", LETTER)
        server.kill()
        assert not accepts(server.port)
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            box.folders()
    server.start()
    with Mailbox(user) as box:
        assert box.messages("INBOX")[uid].raw == LETTER
    server.restart()
    with Mailbox(user) as box:
        assert box.uids("INBOX") == [uid]


def test_closed_server_leaves_nothing_behind(server: ImapServer) -> None:
    own = type(server)()
    with own:
        with own.connect(own.new_user()) as box:
            box.append("INBOX", LETTER)
        group = own.process.pid
    assert not own.directory.exists()
    assert not group_members(group)
    assert not list(processes_with("GAM_CLIENT_ID", own.directory.name))


@pytest.mark.parametrize("name", ["INBOX", "a & b", "Grüße/日本語", 'quo"te', "back\\slash", "😀 &- &AOk-", ""])
def test_folder_names_survive_modified_utf7(name: str) -> None:
    written = mailbox_name(name)
    assert written.isascii()
    assert folder_name(written[1:-1].replace("\\\\", "\\").replace('\\"', '"')) == name


def test_known_folder_names_are_written_as_the_standard_shows_them() -> None:
    # RFC 3501 5.1.3
    assert mailbox_name("~peter/mail/台北/日本語") == '"~peter/mail/&U,BTFw-/&ZeVnLIqe-"'
