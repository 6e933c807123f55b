"""The IMAP provider keeps the contract on Cyrus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.providers import open_session
from sync.providers.base import MailSession
from tests.servers.cyrus import Cyrus
from tests.servers.mailbox import MailUser
from tests.sync.providers.contract import ProviderContract
from tests.sync.providers.real import RealHand, login_to


class TestCyrus(ProviderContract):
    refused_names = frozenset({"100% “quoted”", 'a "b" c', "back\\slash"})

    @pytest.fixture
    def user(self, cyrus: Cyrus) -> MailUser:
        return cyrus.new_user()

    @pytest.fixture
    def hand(self, cyrus: Cyrus, user: MailUser) -> Iterator[RealHand]:
        with cyrus.connect(user) as box:
            yield RealHand(box)

    @pytest.fixture
    def session(self, user: MailUser) -> Iterator[MailSession]:
        session = open_session(login_to(user))
        yield session
        session.close()
