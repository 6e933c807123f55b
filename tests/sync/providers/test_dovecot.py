"""The IMAP provider keeps the contract on Dovecot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.providers import open_session
from sync.providers.base import MailSession
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import MailUser
from tests.sync.providers.contract import ProviderContract
from tests.sync.providers.real import RealHand, login_to


class TestDovecot(ProviderContract):
    @pytest.fixture
    def user(self, dovecot: Dovecot) -> MailUser:
        return dovecot.new_user()

    @pytest.fixture
    def hand(self, dovecot: Dovecot, user: MailUser) -> Iterator[RealHand]:
        with dovecot.connect(user) as box:
            yield RealHand(box)

    @pytest.fixture
    def session(self, user: MailUser) -> Iterator[MailSession]:
        session = open_session(login_to(user))
        yield session
        session.close()


class TestDovecotWithFewCapabilities(TestDovecot):
    """An old server: everything is read again at every look, in plain IMAP4rev1."""

    tells = False

    @pytest.fixture
    def dovecot(self, dovecot_plain: Dovecot) -> Dovecot:
        return dovecot_plain
