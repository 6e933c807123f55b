"""From an email address to its servers, over a DNS server and a web server of the test's own."""

from __future__ import annotations

import http.server
import ipaddress
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import override_settings

from accounts.discovery import Servers, ServersUnknown, discover, web
from accounts.discovery.autoconfig import read_autoconfig
from accounts.discovery.choosing import internet_of_settings
from accounts.discovery.known import PROVIDERS
from accounts.discovery.values import is_host
from tests.accounts.internet import TestNet, open_net, open_proxy

DOMAIN = "mails.example"
ADDRESS = f"ida@{DOMAIN}"
AUTOCONFIG = f"autoconfig.{DOMAIN}"
PATH = "/mail/config-v1.1.xml"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[TestNet]:
    names = (AUTOCONFIG, DOMAIN, "elsewhere.example", "autoconfig.hoster.example", "autoconfig.xn--bcher-kva.example")
    with open_net(tmp_path, *names) as net:
        yield net


def config(*, imap: str = f"imap.{DOMAIN}", smtp: str = f"smtp.{DOMAIN}", user: str = "%EMAILADDRESS%") -> bytes:
    """An autoconfig file as many providers serve it: POP3 first, IMAP without encryption before IMAP with it."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1"><emailProvider id="mails.example"><domain>mails.example</domain>
<incomingServer type="pop3"><hostname>pop.{DOMAIN}</hostname><port>995</port><socketType>SSL</socketType>
</incomingServer>
<incomingServer type="imap"><hostname>{imap}</hostname><port>143</port><socketType>plain</socketType>
  <username>{user}</username><authentication>password-cleartext</authentication></incomingServer>
<incomingServer type="imap"><hostname>{imap}</hostname><port>993</port><socketType>SSL</socketType>
  <username>{user}</username><authentication>password-cleartext</authentication></incomingServer>
<outgoingServer type="smtp"><hostname>{smtp}</hostname><port>587</port><socketType>STARTTLS</socketType>
  <username>{user}</username><authentication>password-cleartext</authentication></outgoingServer>
</emailProvider></clientConfig>""".encode()


FROM_FILE = Servers(f"imap.{DOMAIN}", 993, "tls", f"smtp.{DOMAIN}", 587, "starttls", "autoconfig")


def test_known_provider_costs_no_lookup(net: TestNet) -> None:
    found = discover("someone@GMX.de", internet=net.internet)
    assert found == Servers("imap.gmx.net", 993, "tls", "mail.gmx.net", 465, "tls", "known")
    assert net.asked == []


@pytest.mark.parametrize(
    ("address", "imap", "smtp"),
    [
        ("a@gmail.com", "imap.gmail.com", "smtp.gmail.com"),
        ("a@hotmail.co.uk", "outlook.office365.com", "smtp-mail.outlook.com"),
        ("a@yahoo.fr", "imap.mail.yahoo.com", "smtp.mail.yahoo.com"),
        ("a@icloud.com", "imap.mail.me.com", "smtp.mail.me.com"),
        ("a@t-online.de", "secureimap.t-online.de", "securesmtp.t-online.de"),
        ("a@mailbox.org", "imap.mailbox.org", "smtp.mailbox.org"),
    ],
)
def test_large_providers_are_known_by_heart(net: TestNet, address: str, imap: str, smtp: str) -> None:
    found = discover(address, internet=net.internet)
    assert (found.imap_host, found.smtp_host, found.source) == (imap, smtp, "known")


def test_srv_records_win_and_the_lowest_priority_is_taken(net: TestNet) -> None:
    net.zone[f"_imaps._tcp.{DOMAIN}", "SRV"] = [
        f"20 0 993 second.{DOMAIN}.",
        f"10 1 9993 light.{DOMAIN}.",
        f"10 9 9993 heavy.{DOMAIN}.",
    ]
    net.zone[f"_submission._tcp.{DOMAIN}", "SRV"] = [f"0 1 587 smtp.{DOMAIN}."]
    net.page(AUTOCONFIG, PATH, config(imap="other.example.org"))
    found = discover(ADDRESS, internet=net.internet)
    assert found == Servers(f"heavy.{DOMAIN}", 9993, "tls", f"smtp.{DOMAIN}", 587, "starttls", "srv")


def test_tls_from_the_start_is_preferred_to_starttls(net: TestNet) -> None:
    net.zone[f"_imap._tcp.{DOMAIN}", "SRV"] = [f"0 1 143 imap.{DOMAIN}."]
    assert discover(ADDRESS, internet=net.internet).imap_security == "starttls"
    net.zone[f"_imaps._tcp.{DOMAIN}", "SRV"] = [f"9 1 993 imap.{DOMAIN}."]
    assert discover(ADDRESS, internet=net.internet).imap_security == "tls"


def test_service_said_not_to_exist_is_not_used(net: TestNet) -> None:
    net.zone[f"_imaps._tcp.{DOMAIN}", "SRV"] = ["0 0 0 ."]
    net.zone[f"_imap._tcp.{DOMAIN}", "SRV"] = [f"0 1 143 imap.{DOMAIN}."]
    assert discover(ADDRESS, internet=net.internet).imap_port == 143


def test_sending_server_missing_in_dns_comes_from_the_file(net: TestNet) -> None:
    net.zone[f"_imaps._tcp.{DOMAIN}", "SRV"] = [f"0 1 993 imap4.{DOMAIN}."]
    assert discover(ADDRESS, internet=net.internet).smtp_host is None
    net.page(AUTOCONFIG, PATH, config())
    found = discover(ADDRESS, internet=net.internet)
    assert (found.imap_host, found.smtp_host, found.source) == (f"imap4.{DOMAIN}", f"smtp.{DOMAIN}", "srv")


@pytest.mark.parametrize(
    ("host", "path"), [(AUTOCONFIG, PATH), (DOMAIN, "/.well-known/autoconfig/mail/config-v1.1.xml")]
)
def test_autoconfig_file_is_found_in_both_places(net: TestNet, host: str, path: str) -> None:
    net.page(host, path, config())
    assert discover(ADDRESS, internet=net.internet) == FROM_FILE


def test_redirect_to_another_host_is_followed(net: TestNet) -> None:
    net.page(AUTOCONFIG, PATH, b"", status=301, Location=f"https://elsewhere.example:{net.internet.https_port}/file")
    net.page("elsewhere.example", "/file", config())
    assert discover(ADDRESS, internet=net.internet) == FROM_FILE


@pytest.mark.parametrize(
    "location", [f"http://{DOMAIN}/file", PATH, "https://elsewhere.example:1/file", "//[", "file:///etc/passwd"]
)
def test_redirect_without_tls_in_circles_or_to_another_port_is_refused(net: TestNet, location: str) -> None:
    net.page(AUTOCONFIG, PATH, b"", status=302, Location=location)
    with pytest.raises(ServersUnknown):
        discover(ADDRESS, internet=net.internet)
    assert sum(line.startswith(f"GET {AUTOCONFIG}") for line in net.asked) <= web.REDIRECTS + 1


def test_private_address_is_not_asked_unless_allowed(net: TestNet) -> None:
    net.page(AUTOCONFIG, PATH, config())
    with pytest.raises(ServersUnknown):
        discover(ADDRESS, internet=replace(net.internet, private_networks=("10.0.0.0/8",)))
    assert not [line for line in net.asked if line.startswith("GET")]


@pytest.mark.parametrize("address", ["10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"])
def test_no_address_that_is_not_public_is_asked(net: TestNet, address: str) -> None:
    net.zone["inner.example", "A"] = [address]
    assert net.internet.addresses("inner.example") == ()
    net.zone["inner.example", "A"] = ["93.184.215.14", address]
    assert net.internet.addresses("inner.example") == ()


def test_private_ipv4_address_in_the_clothes_of_ipv6_is_not_asked(net: TestNet) -> None:
    net.zone["inner.example", "AAAA"] = ["::ffff:10.0.0.1"]
    assert net.internet.addresses("inner.example") == ()


def test_certificate_of_another_host_is_refused(net: TestNet) -> None:
    net.page("autoconfig.unlisted.example", PATH, config())
    with pytest.raises(ServersUnknown):
        discover("ida@unlisted.example", internet=net.internet)


def test_file_beyond_the_size_limit_is_refused(net: TestNet) -> None:
    net.page(AUTOCONFIG, PATH, config() + b" " * web.SIZE)
    with pytest.raises(ServersUnknown):
        discover(ADDRESS, internet=net.internet)


def test_server_that_drips_is_cut_off(net: TestNet) -> None:
    def drip(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        for _ in range(100):
            request.wfile.write(b" ")
            time.sleep(0.1)

    net.host(AUTOCONFIG)
    net.pages[AUTOCONFIG, PATH] = drip
    began = time.monotonic()
    with pytest.raises(ServersUnknown):
        discover(ADDRESS, internet=net.internet, seconds=0.5)
    assert time.monotonic() - began < 3


def test_business_domain_is_recognised_by_its_mail_exchanger(net: TestNet) -> None:
    net.zone[DOMAIN, "MX"] = ["10 alt1.aspmx.l.google.com.", "1 aspmx.l.google.com."]
    found = discover(ADDRESS, internet=net.internet)
    assert found == Servers("imap.gmail.com", 993, "tls", "smtp.gmail.com", 465, "tls", "mx")


def test_more_specific_exchanger_wins(net: TestNet) -> None:
    net.zone[DOMAIN, "MX"] = ["0 mails-example.olc.protection.outlook.com."]
    assert discover(ADDRESS, internet=net.internet).smtp_host == "smtp-mail.outlook.com"
    net.zone[DOMAIN, "MX"] = ["0 mails-example.mail.protection.outlook.com."]
    assert discover(ADDRESS, internet=net.internet).smtp_host == "smtp.office365.com"


def test_file_of_the_domains_hoster_is_found_by_the_exchanger(net: TestNet) -> None:
    net.zone[DOMAIN, "MX"] = ["10 mx1.hoster.example."]
    net.page("autoconfig.hoster.example", PATH, config(imap="imap.hoster.example"))
    found = discover(ADDRESS, internet=net.internet)
    assert (found.imap_host, found.source) == ("imap.hoster.example", "mx-autoconfig")


def test_nothing_found_names_what_to_give(net: TestNet) -> None:
    net.zone[DOMAIN, "MX"] = ["0 ."]
    with pytest.raises(ServersUnknown, match=f"{DOMAIN}; name them: --imap HOST"):
        discover(ADDRESS, internet=net.internet)


def test_silent_dns_is_told_from_an_empty_one_and_ends_in_time(net: TestNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accounts.discovery.lookups.DNS_PATIENCE", 0.5)
    net.dns_answers = False
    began = time.monotonic()
    with pytest.raises(ServersUnknown, match="DNS did not answer"):
        discover(ADDRESS, internet=net.internet)
    assert time.monotonic() - began < 5


def test_provider_without_imap_says_so(net: TestNet) -> None:
    with pytest.raises(ServersUnknown, match=r"Proton Mail has no IMAP server .*--imap"):
        discover("a@proton.me", internet=net.internet)
    net.zone[DOMAIN, "MX"] = ["10 mail.protonmail.ch."]
    with pytest.raises(ServersUnknown, match="Proton Mail"):
        discover(ADDRESS, internet=net.internet)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ida",
        "@mails.example",
        "ida@",
        "ida@localhost",
        "ida@127.0.0.1",
        "ida@a..b",
        "ida@ex ample.com",
        f"ida@{'a' * 64}.example",
    ],
)
def test_what_is_no_address_is_refused_without_a_lookup(net: TestNet, address: str) -> None:
    with pytest.raises(ServersUnknown, match="--imap HOST"):
        discover(address, internet=net.internet)
    assert net.asked == []


def test_domain_beyond_ascii_is_asked_in_its_ascii_form(net: TestNet) -> None:
    net.page("autoconfig.xn--bcher-kva.example", PATH, config(imap="imap.%EMAILDOMAIN%"))
    assert discover("ida@bücher.example", internet=net.internet).imap_host == "imap.xn--bcher-kva.example"


def test_user_name_of_the_file_is_filled_in() -> None:
    found = read_autoconfig(config(user="%EMAILLOCALPART%"), ADDRESS)
    assert found
    assert found.username == "ida"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html><body>no such page</body></html>",
        b"<clientConfig>",
        b"\xff\xfe<clientConfig/>",
        b'<?xml version="1.0" encoding="no-such"?><clientConfig/>',
        config().replace(b"SSL", b"plain"),
        config(imap="imap.mails.example/../x"),
        config(imap="127.0.0.1"),
        config().replace(b"993", b"99300"),
        config().replace(b"993", "٩٩٣".encode()),
        config().replace(b"password-cleartext", b"client-IP-address"),
    ],
)
def test_useless_file_counts_as_none(document: bytes) -> None:
    assert read_autoconfig(document, ADDRESS) is None


def test_file_with_entities_is_refused() -> None:
    declared = b'<!DOCTYPE clientConfig [<!ENTITY a "imap.mails.example">]>'
    document = config().replace(b"<clientConfig", declared + b"<clientConfig", 1)
    assert read_autoconfig(document.replace(b"imap.mails.example", b"&a;"), ADDRESS) is None
    assert read_autoconfig(document, ADDRESS) is None


def test_proxy_is_asked_for_files_and_gets_the_host_name(net: TestNet) -> None:
    net.page(AUTOCONFIG, PATH, config())
    with open_proxy(net.internet.https_port) as proxy:
        through = replace(net.internet, private_networks=(), proxy=f"http://me:se%20cret@127.0.0.1:{proxy.port}")
        assert discover(ADDRESS, internet=through) == FROM_FILE
    [asked] = [request for request in proxy.requests if AUTOCONFIG in request]
    assert asked.startswith(f"CONNECT {AUTOCONFIG}:{net.internet.https_port} ")
    # me:se cret
    assert "Proxy-Authorization: Basic bWU6c2UgY3JldA==" in asked


def test_no_domain_or_exchanger_belongs_to_two_providers() -> None:
    for names in ([d for p in PROVIDERS for d in p.domains], [x for p in PROVIDERS for x in p.exchangers]):
        assert len(names) == len(set(names))
        assert all(name == name.lower() and is_host(name) for name in names)


def test_known_servers_are_hosts_and_encrypted() -> None:
    for provider in PROVIDERS:
        for endpoint in filter(None, (provider.imap, provider.smtp)):
            assert is_host(endpoint.host)
            assert (endpoint.port, endpoint.security) in {(993, "tls"), (465, "tls"), (587, "starttls")}
        assert provider.imap or provider.remark


@override_settings(
    ALLOWED_PRIVATE_NETWORKS=[ipaddress.ip_network("10.0.0.0/8")], EGRESS_PROXY="http://proxy.example:3128"
)
def test_settings_say_how_the_internet_is_reached() -> None:
    internet = internet_of_settings()
    assert (internet.private_networks, internet.proxy) == (("10.0.0.0/8",), "http://proxy.example:3128")
    assert discover("someone@gmail.com").source == "known"
