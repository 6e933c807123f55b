"""The checking client logs in as the account does, and says why where it cannot."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from project.demo.faults import Faults, bye, cut, garble, hang, say
from project.demo.server import DemoServer
from sync.checking.remote import PIECE, SLICE, CouldNotLook, MailboxReader, ReaderLogin
from tests.servers.cyrus import Cyrus
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import MailUser
from tests.sync.checking.conftest import mail


def login(user: MailUser, security: Any, **more: Any) -> ReaderLogin:
    port = user.tls_port if security == "tls" else user.port
    assert port is not None
    given: dict[str, Any] = {"verify_certificates": False, "password": user.password, "timeout": 20.0} | more
    return ReaderLogin(
        addresses=[user.host], host=user.host, port=port, security=security, username=user.username, **given
    )


@pytest.fixture(params=["dovecot", "cyrus"])
def server(request: pytest.FixtureRequest) -> Dovecot | Cyrus:
    found: Dovecot | Cyrus = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("security", ["tls", "starttls", "none"])
def test_mailbox_is_read_over_every_security(server: Dovecot | Cyrus, security: str) -> None:
    user = server.new_user()
    with server.connect(user) as box:
        uid = box.append("INBOX", mail(1), [r"\Seen"])
    with MailboxReader(login(user, security)) as reader:
        opened = reader.open(reader.folders()["INBOX"])
        assert opened is not None
        (found,) = opened.slices()
    assert (found[uid].size, found[uid].flags) == (len(mail(1)), frozenset({r"\Seen"}))


def test_certificate_is_verified_unless_told_otherwise(dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    for security in ("tls", "starttls"):
        with pytest.raises(CouldNotLook, match=r"(?i)certificate"):
            MailboxReader(login(user, security, verify_certificates=True))


def test_refused_login_is_told_without_the_password(server: Dovecot | Cyrus) -> None:
    user = server.new_user()
    with pytest.raises(CouldNotLook) as refused:
        MailboxReader(login(user, "none", password="no such secret"))
    assert "no such secret" not in str(refused.value)
    assert "could not log in" in str(refused.value)
    assert "no such secret" not in repr(login(user, "none", password="no such secret"))


def test_contents_are_hashed_whatever_their_size(server: Dovecot | Cyrus) -> None:
    user = server.new_user()
    raws = [mail(1), mail(2, attached=bytes(range(256)) * 6000), _exactly(PIECE), _exactly(2 * PIECE)]
    with server.connect(user) as box:
        kept = {box.append("INBOX", raw): raw for raw in raws}
    with MailboxReader(login(user, "none")) as reader:
        opened = reader.open(reader.folders()["INBOX"])
        assert opened is not None
        (found,) = opened.slices()
        read = opened.with_contents(found)
    assert {uid: (one.size, one.sha256) for uid, one in read.items()} == {
        uid: (len(raw), hashlib.sha256(raw).digest()) for uid, raw in kept.items()
    }


def _exactly(size: int) -> bytes:
    head = b"Subject: a mail of a size\r\n\r\n"
    lines = (b"x" * 76 + b"\r\n") * (size // 78 + 1)
    return (head + lines)[: size - 2] + b"\r\n"


def test_message_expunged_by_others_is_left_out_and_the_rest_read(server: Dovecot | Cyrus) -> None:
    user = server.new_user()
    with server.connect(user) as box:
        uids = [box.append("INBOX", mail(number)) for number in range(4)]
        with MailboxReader(login(user, "none")) as reader:
            opened = reader.open(reader.folders()["INBOX"])
            assert opened is not None
            (found,) = opened.slices()
            box.expunge("INBOX", uids[1])
            read = opened.with_contents(found)
    for uid, one in read.items():
        # a server may still deliver what is gone, but nothing is taken for another message
        assert one.sha256 == hashlib.sha256(mail(uids.index(uid))).digest()
    assert set(read) >= {uids[0], uids[2], uids[3]}


def test_large_folder_is_read_in_slices(dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    count = SLICE + 3
    with dovecot.connect(user) as box:
        box.append("INBOX", b"Subject: x\r\n\r\n")
        have = 1
        while have < count:
            box.copy("INBOX", box.uids("INBOX")[: count - have], "INBOX")
            have = len(box.uids("INBOX"))
    with MailboxReader(login(user, "none")) as reader:
        opened = reader.open(reader.folders()["INBOX"])
        assert opened is not None
        slices = list(opened.slices())
    assert [len(one) for one in slices] == [SLICE, 3]
    assert len({uid for one in slices for uid in one}) == count


def test_folder_that_is_refused_is_not_opened(server: Dovecot | Cyrus) -> None:
    user = server.new_user()
    with server.connect(user) as box, MailboxReader(login(user, "none")) as reader:
        box.create("Soon gone")
        listed = reader.folders()
        box.delete("Soon gone")
        assert reader.open(listed["Soon gone"]) is None
        assert reader.open(listed["INBOX"]) is not None


@pytest.mark.parametrize(
    "faults",
    [
        Faults(greeting=b"HTTP/1.1 400 Bad Request\r\n"),
        Faults(drop_after_login=True),
        Faults(trips=(cut("LIST"),)),
        Faults(trips=(bye("EXAMINE"),)),
        Faults(trips=(cut("FETCH"),)),
        Faults(trips=(hang("FETCH"),)),
        Faults(trips=(garble("FETCH"),)),
        Faults(trips=(say("FETCH", "NO [UNAVAILABLE] later"),)),
        Faults(trips=(say("LIST", "NO [UNAVAILABLE] later"),)),
    ],
)
def test_server_that_misbehaves_is_no_mailbox_without_messages(faults: Faults) -> None:
    with DemoServer() as server:
        server.append("INBOX", mail(1))
        server.faults = faults
        given = ReaderLogin(
            ["127.0.0.1"], "127.0.0.1", server.port, "none", server.username, server.password, timeout=1
        )
        with pytest.raises(CouldNotLook):
            read_inbox(given)


def read_inbox(given: ReaderLogin) -> None:
    with MailboxReader(given) as reader:
        opened = reader.open(reader.folders()["INBOX"])
        assert opened is not None
        list(opened.slices())


def test_server_that_repeats_the_password_is_not_quoted_with_it() -> None:
    with DemoServer() as server:
        answer = f"NO {server.password} is wrong"
        server.faults = Faults(trips=(say("LOGIN", answer), say("AUTHENTICATE", answer)))
        given = ReaderLogin(["127.0.0.1"], "127.0.0.1", server.port, "none", server.username, server.password)
        with pytest.raises(CouldNotLook, match=r"\*\*\* is wrong") as refused:
            read_inbox(given)
    assert server.password not in str(refused.value)
