"""The reference provider keeps the contract, and misbehaves when told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.errors import BadCredentials, ServerMisbehaved, Throttled, Unreachable
from sync.providers import open_session
from sync.providers.base import Login, MailSession
from sync.providers.memory import MemoryServer
from tests.sync.providers.contract import FollowedFolder, ProviderContract, letter


class MemoryHand:
    """The hand of the contract on a MemoryServer."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.append = server.append
        self.copy, self.move, self.flag = server.copy, server.move, server.flag
        self.create, self.rename, self.delete = server.create_folder, server.rename_folder, server.delete_folder
        self.bump_uidvalidity = server.bump_uidvalidity

    def ref(self, *levels: str) -> str:
        return "/".join(levels)

    def expunge(self, ref: str, uid: str) -> None:
        self.server.expunge(ref, uid)

    def held(self, ref: str) -> dict[str, tuple[frozenset[str], bytes]]:
        return {uid: (one.flags, one.raw or b"") for uid, one in self.server.messages(ref).items()}


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as server:
        yield server


class TestMemory(ProviderContract):
    @pytest.fixture
    def hand(self, server: MemoryServer) -> MemoryHand:
        return MemoryHand(server)

    @pytest.fixture
    def session(self, server: MemoryServer) -> Iterator[MailSession]:
        session = open_session(server.login())
        yield session
        session.close()


class TestMemoryWithoutCondstore(TestMemory):
    @pytest.fixture
    def server(self) -> Iterator[MemoryServer]:
        with MemoryServer(condstore=False) as server:
            yield server


def test_wrong_password_and_unknown_host_are_told_with_their_stage(server: MemoryServer) -> None:
    with pytest.raises(BadCredentials) as refused:
        open_session(Login("memory", server.host, 143, "none", "alice", "guess"))
    assert refused.value.stage == "login"
    with pytest.raises(Unreachable) as lost:
        open_session(Login("memory", "elsewhere", 143, "none", "alice", "guess"))
    assert lost.value.stage == "resolve"


def test_unknown_provider_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no provider 'pop3'"):
        open_session(Login("pop3", "host", 110, "none", "alice", "guess"))


def test_lowered_modseq_makes_all_flags_be_read_again(server: MemoryServer) -> None:
    uid = server.append("INBOX", letter(1))
    followed = FollowedFolder(open_session(server.login()), "INBOX")
    followed.look()
    server.flag("INBOX", uid, add=[r"\Seen"])
    server.lower_modseq("INBOX", by=2)
    followed.look()
    assert followed.flags == {uid: {r"\Seen"}}


def test_scripted_failure_happens_once_and_kills_the_session_when_it_should(server: MemoryServer) -> None:
    session = open_session(server.login())
    server.fail_next("status", Throttled("slow down"))
    with pytest.raises(Throttled):
        session.status(["INBOX"])
    assert session.status(["INBOX"])
    server.fail_next("changes", Unreachable("cut"))
    for _ in range(2):
        with pytest.raises(Unreachable):
            session.changes("INBOX", None, relist=True)


def test_fetch_fails_midway_when_told_to(server: MemoryServer) -> None:
    uids = [server.append("INBOX", letter(number)) for number in range(4)]
    server.fail_next("fetch", Unreachable("cut"))
    messages = open_session(server.login()).fetch("INBOX", uids)
    assert [next(messages).remote_id, next(messages).remote_id] == uids[:2]
    with pytest.raises(Unreachable):
        next(messages)


def test_folder_and_list_come_back_empty_once(server: MemoryServer) -> None:
    uid = server.append("INBOX", letter(1))
    session = open_session(server.login())
    server.answer_empty_once("INBOX")
    assert session.changes("INBOX", None, relist=True).present == frozenset()
    assert session.changes("INBOX", None, relist=True).present == frozenset({uid})
    server.list_nothing_once()
    with pytest.raises(ServerMisbehaved):
        session.folders()
    assert open_session(server.login()).folders().folders
