"""No page of the admin shows a secret: every page that a link leads to is read."""

from __future__ import annotations

import html
import re
from collections import deque
from urllib.parse import urljoin, urlsplit

import pytest
from django.test import Client

from accounts.keys import create_api_key
from accounts.models import ApiKey, Application, Credential
from accounts.services import NewAccount, read_secrets, store_account
from project.shards import on_shard
from tests.admin.conftest import pages_of
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, mail

pytestmark = pytest.mark.django_db(databases=ALIASES)

PASSWORD = "xyzzy-plugh-4711"
#: Pages enough for everything a mailbox has; more means that links lead round for ever.
ENOUGH = 300


def plant(room: Mailroom, application: Application) -> list[str]:
    """Give the account a password, and mail; return what must never be seen."""
    with on_shard(room.id):
        store_account(
            NewAccount(
                application_id=application.pk,
                email=room.account.email,
                provider="imap",
                settings={"imap_host": "mail.example.org", "imap_username": "ada"},
                secrets={"imap_password": PASSWORD},
            )
        )
        assert read_secrets(room.id) == {"imap_password": PASSWORD}
        sealed = bytes(Credential.objects.get(pk=room.id).sealed)
    room.add(mail("One", text="said", html="<p>said</p>", attachments=[("a.bin", "application/x", b"x")]))
    plain = create_api_key(application=application, name="key")
    digest = bytes(ApiKey.objects.get().digest)
    return [PASSWORD, plain, sealed.hex(), sealed[8:].decode("latin-1"), digest.hex(), repr(sealed)[2:20]]


def links(page: str, address: str) -> set[str]:
    """Return the addresses in the admin that a page leads to."""
    found = {urljoin(address, html.unescape(one)) for one in re.findall(r'(?:href|action)="([^"#]+)', page)}
    return {one for one in found if one.startswith("/admin/") and not urlsplit(one).path.startswith("/admin/logout")}


def walk(client: Client) -> dict[str, str]:
    """Read every page that links lead to, the first of each kind of list twice as deep as people would."""
    pages: dict[str, str] = {}
    waiting = deque(["/admin/"])
    while waiting:
        address = waiting.popleft()
        # the same list narrowed or in another order says nothing new
        if address in pages or re.search(r"[?&](o|_facets|_popup|all|state|shard|\w+__\w+)=", address):
            continue
        response = client.get(address)
        assert response.status_code < 400, (address, response.status_code)
        pages[address] = "" if response.streaming else response.content.decode()
        waiting += sorted(links(pages[address], address))
        assert len(pages) < ENOUGH
    return pages


def test_no_page_shows_a_secret(boss: Client, room: Mailroom, application: Application) -> None:
    hidden = plant(room, application)
    pages = walk(boss)
    # the walk has seen the pages that matter
    kinds = ("change/", "log/", "messages/", "pause/", "resync/")
    assert all(f"{pages_of(room)}{kind}" in pages for kind in kinds)
    assert any(re.search(r"/messages/\d+/$", one) for one in pages)
    assert any("/accounts/apikey/" in one and "revoke" in one for one in pages)
    message = next(one for one in pages if re.search(r"/messages/\d+/$", one))
    pages["body"] = boss.post(f"{message}body/").content.decode()
    shown = [(address, secret) for address, page in pages.items() for secret in hidden if secret in html.unescape(page)]
    assert shown == []
    assert "password, stored" in pages[f"{pages_of(room)}change/"]
