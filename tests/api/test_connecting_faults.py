"""Connecting to servers that cannot be used: each is told with its stage, in time; nothing is stored, nothing leaks."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from accounts.discovery import Internet
from accounts.models import Account, Application, Credential, GrantDirectory
from accounts.services import default_application
from project.demo.faults import Faults, hang, say
from project.demo.server import DemoServer
from project.shards import on_shard, shards
from sync.errors import MailError
from sync.models import AccountSync
from sync.providers.base import Login
from sync.providers.imap_connect import tls_context
from sync.providers.smtp import prove_smtp
from sync.services import connecting
from sync.services.connecting import ConnectRequest, connect_account
from tests.accounts.internet import TestNet, open_net
from tests.api import strangers
from tests.api.conftest import ALIASES
from tests.api.strangers import stranger
from tests.servers.dovecot import Dovecot
from tests.servers.processes import free_ports

pytestmark = pytest.mark.django_db(transaction=True, databases=ALIASES)

#: Letters that quoting and repr change.
SECRET = 'pass "word" \\ of é'
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>"
GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n"
PROMISED_SECONDS = 20


@dataclass(frozen=True)
class Case:
    """What somebody asks for, and the stage at which it must fail."""

    settings: dict[str, Any]
    stage: str
    #: Part of what the owner is told.
    told: str = ""


def nothing_stored() -> bool:
    """Whether no trace of an account is there, in any database."""
    tables: list[type[models.Model]] = [Account, Credential, AccountSync]
    for shard in shards():
        with on_shard(shard=shard):
            if any(table._default_manager.exists() for table in tables):
                return False
    return not GrantDirectory.objects.exists()


def connect(served: str, key: str, settings: dict[str, Any]) -> tuple[int, dict[str, Any], float]:
    """Ask the API to connect an account; return status, body and seconds."""
    at = urlsplit(served)
    body = {"provider": "imap", "settings": {"email": "ada@example.org", "imap_password": SECRET, **settings}}
    began = time.monotonic()
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=60)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    connection.request("POST", "/v3/connect/custom", json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer, time.monotonic() - began


def imap(port: int, security: str = "none", **more: Any) -> dict[str, Any]:
    return {"imap_host": "127.0.0.1", "imap_port": port, "imap_security": security, **more}


@contextlib.contextmanager
def imap_cases(directory: Path) -> Iterator[dict[str, Case]]:
    """IMAP servers of every bad kind."""
    with contextlib.ExitStack() as open_ones:

        def at(conduct: strangers.Conduct) -> int:
            return open_ones.enter_context(stranger(conduct))

        def demo(faults: Faults) -> int:
            server = open_ones.enter_context(DemoServer("ada@example.org", SECRET))
            server.faults = faults
            return server.port

        echo = f"* OK [CAPABILITY IMAP4rev1] ready\r\n* BYE {SECRET}\r\n".encode()
        echo_64 = GREETING + b"M1 NO I know " + b64encode(f"\0ada@example.org\0{SECRET}".encode()) + b"\r\n"
        endless, line = b"x" * 65536, b"* OK %s\r\n" % (b"x" * 1000)
        yield {
            "unknown host": Case({"imap_host": "no-such-host.invalid"}, "resolve", "no-such-host.invalid"),
            "forbidden address": Case({"imap_host": "10.0.0.1"}, "resolve", "ALLOWED_PRIVATE_NETWORKS"),
            "refused port": Case(imap(free_ports(1)[0]), "connect", "refused"),
            "hangs at once": Case(imap(at(strangers.hang)), "connect", "no answer"),
            "hangs in TLS": Case(imap(at(strangers.hang), "tls"), "tls", "no answer to TLS"),
            "hangs in STARTTLS": Case(imap(demo(Faults(trips=(hang("STARTTLS"),))), "starttls"), "tls"),
            "hangs at the login": Case(imap(demo(Faults(trips=(hang("AUTHENTICATE"), hang("LOGIN"))))), "login"),
            "hangs at the list": Case(imap(demo(Faults(trips=(hang("LIST"),)))), "list", "no answer"),
            "refuses the list": Case(imap(demo(Faults(trips=(say("LIST", "NO broken"),)))), "list", "broken"),
            "closes at once": Case(imap(at(strangers.close_at_once)), "connect", "closed"),
            "closes in TLS": Case(imap(at(strangers.close_at_once), "tls"), "tls"),
            "closes after the login": Case(imap(demo(Faults(drop_after_login=True))), "list"),
            "speaks HTTP": Case(imap(at(strangers.says(HTTP))), "connect", "no IMAP greeting"),
            "speaks HTTP in TLS": Case(imap(at(strangers.says(HTTP)), "tls"), "tls", "does not speak TLS"),
            "binary": Case(imap(at(strangers.says(bytes(range(256)) + b"\r\n"))), "connect", "no IMAP greeting"),
            "endless greeting": Case(imap(at(strangers.floods(b"", endless))), "connect", "a line of more"),
            "dripping greeting": Case(imap(at(strangers.drips(b"* OK "))), "connect", "too long"),
            "dripping login": Case(imap(at(strangers.drips(GREETING + b"* OK "))), "login", "too long"),
            "endless answers": Case(imap(at(strangers.floods(GREETING, line * 64))), "login", "answers of"),
            "no STARTTLS": Case(imap(demo(Faults()), "starttls"), "tls", "STARTTLS"),
            "not allowed in": Case(imap(demo(Faults(max_connections=0))), "connect"),
            "repeats the password": Case(imap(at(strangers.says(echo))), "login"),
            "repeats what it got": Case(imap(at(strangers.says(echo_64))), "login"),
        }


@contextlib.contextmanager
def smtp_cases(directory: Path, good: dict[str, Any]) -> Iterator[dict[str, Case]]:
    """SMTP servers of every bad kind, beside an IMAP server that is well."""
    with contextlib.ExitStack() as open_ones:

        def case(conduct: strangers.Conduct | None, told: str, security: str = "none") -> Case:
            port = open_ones.enter_context(stranger(conduct)) if conduct else free_ports(1)[0]
            smtp = {"smtp_host": "127.0.0.1", "smtp_port": port, "smtp_security": security}
            return Case({**good, **smtp}, "smtp", told)

        refusing = strangers.smtp(lambda got: b"535 no such login: " + got)
        odd = strangers.smtp(lambda got: b"454 later: " + got)
        no_login = strangers.says(b"220 hello\r\n250 mail.example\r\n221 bye\r\n")
        trusting_nobody = strangers.secured(refusing, directory)
        yield {
            "SMTP unknown host": Case({**good, "smtp_host": "no-such-host.invalid"}, "smtp", "no-such-host"),
            "SMTP forbidden address": Case({**good, "smtp_host": "10.0.0.1"}, "smtp", "ALLOWED_PRIVATE_NETWORKS"),
            "SMTP refused port": case(None, "refused"),
            "SMTP wrong password": case(refusing, "refused the login (code 535)"),
            "SMTP odd refusal": case(odd, "refused the login (code 454)"),
            "SMTP without logins": case(no_login, "takes no passwords"),
            "SMTP bad certificate": case(trusting_nobody, "certificate", "tls"),
            "SMTP hangs": case(strangers.hang, "no answer"),
            "SMTP hangs in TLS": case(strangers.hang, "no answer", "tls"),
            "SMTP closes": case(strangers.close_at_once, "closed"),
            "SMTP speaks HTTP": case(strangers.says(HTTP), "no SMTP server"),
            "SMTP speaks HTTP in TLS": case(strangers.says(HTTP), "does not speak TLS", "tls"),
            "SMTP greets with no": case(strangers.says(b"554 go away\r\n"), "554"),
            "SMTP drips": case(strangers.drips(b"220 "), "too long"),
            "SMTP endless greeting": case(strangers.floods(b"", b"220-x\r\n" * 8192), "more than"),
            "SMTP endless line": case(strangers.floods(b"", b"x" * 65536), "500"),
        }


@pytest.mark.server("dovecot")
def test_each_server_that_cannot_be_used_is_told_with_its_stage_in_time(
    served: str, key: str, dovecot: Dovecot, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    user = dovecot.new_user()
    there = {"imap_username": user.username, "imap_host": user.host}
    good = {**there, "imap_password": user.password, "imap_port": user.port, "imap_security": "none"}
    real = {
        "wrong password": Case({**good, "imap_password": SECRET}, "login"),
        "bad certificate": Case({**good, "imap_port": user.tls_port, "imap_security": "tls"}, "tls", "certificate"),
        "bad certificate of STARTTLS": Case({**good, "imap_security": "starttls"}, "tls", "certificate"),
        "TLS where there is none": Case({**good, "imap_security": "tls"}, "tls", "does not speak TLS"),
    }
    with (
        imap_cases(tmp_path) as strange,
        smtp_cases(tmp_path, good | {"smtp_password": SECRET}) as smtp,
        ThreadPoolExecutor(16) as pool,
    ):
        cases = {**strange, **smtp, **real}
        asked = {name: pool.submit(connect, served, key, case.settings) for name, case in cases.items()}
        answers = {name: future.result() for name, future in asked.items()}
    logs = "".join(log.read_text(errors="replace") for log in tmp_path_factory.getbasetemp().glob("gunicorn*/log"))
    told = {name: told_of(*answers[name]) for name in cases}
    assert told == {name: (400, "provider_error", case.stage, True) for name, case in cases.items()}, answers
    for name, case in cases.items():
        assert case.told in answers[name][1]["error"]["provider_error"]["message"], (name, answers[name])
        assert_no_secret(json.dumps(answers[name][1], ensure_ascii=False), SECRET, user.password)
    assert_no_secret(logs, SECRET, user.password)
    assert nothing_stored()


def told_of(status: int, body: dict[str, Any], seconds: float) -> tuple[int, str, str | None, bool]:
    """Return what an answer must be judged by."""
    error = body["error"]
    return status, error["type"], error.get("provider_error", {}).get("stage"), seconds < PROMISED_SECONDS


def assert_no_secret(text: str, *secrets: str) -> None:
    """Require that no secret is in a text, however it was sent or printed."""
    for secret in secrets:
        quoted = secret.replace("\\", "\\\\").replace('"', '\\"')
        encoded = b64encode(f"\0ada@example.org\0{secret}".encode()).decode()
        for way in (secret, quoted, repr(quoted)[1:-1], json.dumps(secret)[1:-1], encoded):
            assert way not in text


@pytest.mark.server("dovecot")
def test_the_command_tells_the_stage_on_one_line_and_stores_nothing(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    user = dovecot.new_user()
    for place, security, stage in (
        (f"{user.host}:{user.port}", "none", "login"),
        (f"{user.host}:{user.tls_port}", "tls", "tls"),
        (f"{user.host}:{free_ports(1)[0]}", "none", "connect"),
    ):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{SECRET}\n"))
        arguments = ("ada@example.org", "--imap", place, "--security", security, "--username", user.username)
        with pytest.raises(CommandError) as refused:
            call_command("connect_account", *arguments, "--password-stdin")
        assert f"could not connect ada@example.org (stage {stage})" in str(refused.value)
        assert "\n" not in str(refused.value)
        assert_no_secret(str(refused.value) + "".join(capfd.readouterr()), SECRET)
    assert nothing_stored()


# Deadlines and names


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The system's resolver knows *.mails.example, once each; addresses it reads as ever. Gives what it was asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **named: Any) -> Any:
        if not str(host).endswith("mails.example"):
            return real(host, *arguments, **named)
        asked.append(host)
        # the second time it has moved to where we must not go
        return real("127.0.0.1" if asked.count(host) == 1 else "10.0.0.1", *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.fixture
def net(tmp_path: Path) -> Iterator[TestNet]:
    with open_net(tmp_path, "autoconfig.mails.example", "mails.example") as opened:
        yield opened


def autoconfig(net: TestNet, port: int, username: str, *, after: float = 0.0) -> Internet:
    """Let mails.example name an IMAP server on a port of this machine, after so many seconds."""
    document = f"""<clientConfig version="1.1"><emailProvider id="mails.example"><incomingServer type="imap">
    <hostname>imap.mails.example</hostname><port>{port}</port><socketType>STARTTLS</socketType>
    <username>{username}</username></incomingServer></emailProvider></clientConfig>"""
    path = "/mail/config-v1.1.xml"
    net.page("autoconfig.mails.example", path, document.encode())
    answer = net.pages["autoconfig.mails.example", path]

    def answer_later(request: Any) -> None:
        time.sleep(after)
        answer(request)

    net.pages["autoconfig.mails.example", path] = answer_later
    return net.internet


def test_looking_for_servers_and_a_slow_login_share_one_deadline(
    net: TestNet, resolver: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 3.0)
    with stranger(strangers.drips(b"* OK ")) as port:
        internet = autoconfig(net, port, "%EMAILADDRESS%", after=1.5)
        request = ConnectRequest(email="ada@mails.example", imap_password=SECRET)
        began = time.monotonic()
        with pytest.raises(MailError, match="too long"):
            connect_account(application_id=default_application().pk, request=request, internet=internet)
        assert 2.9 < time.monotonic() - began < 8
    assert nothing_stored()


def test_a_slow_imap_server_leaves_the_rest_of_the_time_to_smtp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 3.0)
    with DemoServer("ada@example.org", SECRET) as server, stranger(strangers.drips(b"220 ")) as port:
        server.faults = Faults(answer_delay=0.3)
        request = ConnectRequest(
            email="ada@example.org", imap_password=SECRET,
            imap_host="127.0.0.1", imap_port=server.port, imap_security="none",
            smtp_host="127.0.0.1", smtp_port=port, smtp_security="none",
        )  # fmt: skip
        began = time.monotonic()
        with pytest.raises(MailError, match="too long") as refused:
            connect_account(application_id=default_application().pk, request=request)
        assert 2.9 < time.monotonic() - began < 8
    assert refused.value.stage == "smtp"
    assert nothing_stored()


@pytest.mark.parametrize("given", ["", "ADA@mails.example"])
def test_the_login_name_that_the_provider_wants_is_used(
    net: TestNet, resolver: list[str], given: str, application: Application
) -> None:
    with encrypted_demo("ada", net) as server:
        internet = autoconfig(net, server.port, "%EMAILLOCALPART%")
        request = ConnectRequest(
            email="ada@mails.example", imap_username=given, imap_password=SECRET, verify_certificates=False
        )
        account_id = connect_account(application_id=application.pk, request=request, internet=internet)
    with on_shard(account_id):
        account = Account.objects.get(pk=account_id)
    assert account.email == "ada@mails.example"
    assert (account.settings["imap_username"], account.settings["smtp_username"]) == ("ada", "ada")


def test_a_login_name_of_the_users_own_stands(net: TestNet, resolver: list[str], application: Application) -> None:
    with encrypted_demo("boss", net) as server:
        internet = autoconfig(net, server.port, "%EMAILLOCALPART%")
        request = ConnectRequest(
            email="ada@mails.example", imap_username="boss", imap_password=SECRET, verify_certificates=False
        )
        account_id = connect_account(application_id=application.pk, request=request, internet=internet)
    with on_shard(account_id):
        assert Account.objects.get(pk=account_id).settings["imap_username"] == "boss"


@contextlib.contextmanager
def encrypted_demo(username: str, net: TestNet) -> Iterator[DemoServer]:
    """The demo server with STARTTLS, by the certificate of the test's internet."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert net.internet.certificates is not None
    context.load_cert_chain(net.internet.certificates, net.internet.certificates.with_name("key.pem"))
    with DemoServer(username, SECRET, tls=context, starttls=True) as server:
        yield server


@pytest.mark.parametrize("security", ["tls", "none"])
def test_smtp_goes_to_the_address_that_was_looked_at_and_keeps_the_name_for_tls(
    security: Any, resolver: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    conduct = strangers.smtp(lambda got: b"235 welcome" if got.endswith(SECRET.encode()) else b"535 no")
    trusted = strangers.secured(conduct, tmp_path, "smtp.mails.example", asked=names)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    tls_context.cache_clear()
    try:
        with stranger(trusted if security == "tls" else conduct) as port:
            prove_smtp(
                Login("imap", "smtp.mails.example", port, security, "ada", SECRET, private_networks=("127.0.0.0/8",),
                      deadline=time.monotonic() + 10)
            )  # fmt: skip
    finally:
        tls_context.cache_clear()
    assert resolver == ["smtp.mails.example"]
    assert names == (["smtp.mails.example"] if security == "tls" else [])
