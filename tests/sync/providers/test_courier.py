"""The IMAP provider keeps the contract on Courier."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.providers import open_session
from sync.providers.base import MailSession
from tests.servers.courier import Courier
from tests.servers.mailbox import MailUser
from tests.sync.providers.contract import ProviderContract
from tests.sync.providers.real import RealHand, login_to


class TestCourier(ProviderContract):
    refused_names = frozenset({"🎉 Party"})
    #: It has no other id than UIDVALIDITY, and gives a renamed folder a new one.
    renaming_keeps_stable_ids = False

    @pytest.fixture
    def user(self, courier: Courier) -> MailUser:
        return courier.new_user()

    @pytest.fixture
    def hand(self, courier: Courier, user: MailUser) -> Iterator[RealHand]:
        with courier.connect(user) as box:
            yield RealHand(box, prefix=("INBOX",), delimiter=".")

    @pytest.fixture
    def session(self, user: MailUser) -> Iterator[MailSession]:
        session = open_session(login_to(user))
        yield session
        session.close()
