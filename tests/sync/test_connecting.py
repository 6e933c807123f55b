"""Connecting an account: what cannot be is refused by name, and nothing is stored."""

from __future__ import annotations

import pytest

from accounts.models import Account, GrantDirectory
from accounts.services import default_application
from sync.errors import BadCredentials, MailError, Unreachable
from sync.services.connecting import ConnectRequest, InvalidSettings, connect_account
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.django_db(transaction=True)


def refused(request: ConnectRequest) -> Exception:
    """Try to connect; return why it was refused, having seen that nothing is stored."""
    with pytest.raises((InvalidSettings, MailError)) as caught:
        connect_account(application_id=default_application().pk, request=request)
    assert not GrantDirectory.objects.exists()
    assert not Account.objects.exists()
    return caught.value


def test_address_whose_servers_nobody_knows_names_the_setting_that_helps() -> None:
    error = refused(ConnectRequest(email="ada@nowhere.invalid", imap_password="secret"))
    assert isinstance(error, InvalidSettings)
    assert error.field == "imap_host"
    assert "--imap" in str(error)


def test_wrong_password_is_told_with_its_stage(dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    error = refused(
        ConnectRequest(
            email="ada@example.com",
            imap_username=user.username,
            imap_password="not " + user.password,
            imap_host=user.host,
            imap_port=user.port,
            imap_security="none",
        )
    )
    assert isinstance(error, BadCredentials)
    assert error.stage == "login"
    assert user.password not in str(error)


def test_certificate_nobody_vouches_for_is_refused_with_its_stage(dovecot: Dovecot) -> None:
    user = dovecot.new_user()
    error = refused(
        ConnectRequest(
            email="ada@example.com",
            imap_username=user.username,
            imap_password=user.password,
            imap_host=user.host,
            imap_port=user.tls_port,
            imap_security="tls",
        )
    )
    assert isinstance(error, MailError)
    assert error.stage == "tls"


def test_closed_port_is_told_with_its_stage() -> None:
    error = refused(
        ConnectRequest(
            email="ada@example.com", imap_password="secret", imap_host="127.0.0.1", imap_port=1, imap_security="none"
        )
    )
    assert isinstance(error, Unreachable)
    assert error.stage == "connect"


def test_unknown_host_is_told_with_its_stage() -> None:
    error = refused(ConnectRequest(email="ada@example.com", imap_password="secret", imap_host="imap.nowhere.invalid"))
    assert isinstance(error, MailError)
    assert error.stage == "resolve"
