"""TLS from the first byte, and STARTTLS."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from imapclient import IMAPClient

from project.demo.server import DemoServer
from tests.project.demo.letters import PLAIN
from tests.project.demo.lines import LineClient


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def test_tls_from_the_first_byte(serving: ssl.SSLContext, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    with DemoServer(tls=serving) as server:
        server.append("INBOX", PLAIN)
        client = IMAPClient("127.0.0.1", server.port, ssl_context=trusting)
        client.login(server.username, server.password)
        client.select_folder("INBOX")
        assert client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"] == PLAIN
        client.logout()


def test_client_that_does_not_trust_us_goes_away_and_the_server_goes_on(
    serving: ssl.SSLContext, certificate: Path
) -> None:
    with DemoServer(tls=serving) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            IMAPClient("127.0.0.1", server.port)
        IMAPClient("127.0.0.1", server.port, ssl_context=ssl.create_default_context(cafile=str(certificate))).shutdown()


def test_starttls_comes_before_the_login(serving: ssl.SSLContext, certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    with DemoServer(tls=serving, starttls=True, require_tls=True) as server:
        with LineClient(server.port) as plain:
            assert b"STARTTLS LOGINDISABLED" in plain.greeting
            assert plain.login(server.username, server.password)[-1].startswith(b"NO [PRIVACYREQUIRED]")
        server.append("INBOX", PLAIN)
        client = IMAPClient("127.0.0.1", server.port, ssl=False)
        client.starttls(trusting)
        client.login(server.username, server.password)
        assert b"STARTTLS" not in client.capabilities()
        client.select_folder("INBOX")
        assert client.fetch([1], ["BODY.PEEK[]"])[1][b"BODY[]"] == PLAIN
        client.logout()


def test_starttls_is_unknown_where_there_is_no_certificate(server: DemoServer) -> None:
    with LineClient(server.port) as client:
        assert b"STARTTLS" not in client.greeting
        assert client.command("STARTTLS")[-1].startswith(b"BAD")
