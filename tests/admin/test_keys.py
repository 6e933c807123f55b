"""API keys and applications: made, shown once, revoked."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.keys import create_api_key, find_api_key
from accounts.models import ApiKey, Application, AuditEntry
from tests.api.conftest import ALIASES

pytestmark = pytest.mark.django_db(databases=ALIASES)

KEYS = "/admin/accounts/apikey/"


def make(client: Client, application: Application) -> str:
    """Make a key with the form and return it."""
    response = client.post(
        f"{KEYS}add/", {"application": application.pk, "name": "billing", "scopes": ["read", "write"]}
    )
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    shown = re.search(r'id="api-key">([^<]*)<', response.content.decode())
    assert shown
    return html.unescape(shown[1])


def test_key_is_shown_once_and_works(boss: Client, application: Application) -> None:
    plain = make(boss, application)
    key = find_api_key(plain)
    assert key is not None
    assert (key.name, key.application, key.scopes) == ("billing", application, ["read", "write"])
    for address in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/"):
        page = boss.get(address).content.decode()
        assert plain not in page
        assert bytes(key.digest).hex() not in page
    assert all(plain not in str(session.get_decoded()) for session in Session.objects.all())
    assert "billing" in boss.get(KEYS).content.decode()
    assert f"{plain[:12]}…" in boss.get(KEYS).content.decode()


def test_key_without_scope_is_refused(boss: Client, application: Application) -> None:
    response = boss.post(f"{KEYS}add/", {"application": application.pk, "name": "billing"})
    assert "This field is required" in response.content.decode()
    assert not ApiKey.objects.exists()


def test_revoked_key_opens_nothing_more(boss: Client, application: Application) -> None:
    plain = make(boss, application)
    key = ApiKey.objects.get()
    assert f"{KEYS}{key.pk}/revoke/" in boss.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert "cannot be undone" in boss.get(f"{KEYS}{key.pk}/revoke/").content.decode()
    assert find_api_key(plain) is not None
    assert "Revoked billing" in boss.post(f"{KEYS}{key.pk}/revoke/", follow=True).content.decode()
    assert find_api_key(plain) is None
    assert "was revoked before" in boss.post(f"{KEYS}{key.pk}/revoke/", follow=True).content.decode()
    assert boss.get(KEYS, {"state": "valid"}).context["cl"].result_count == 0
    assert boss.get(KEYS, {"state": "ended"}).context["cl"].result_count == 1


def test_making_and_revoking_is_recorded(boss: Client, application: Application) -> None:
    make(boss, application)
    key = ApiKey.objects.get()
    boss.post(f"{KEYS}{key.pk}/revoke/")
    entries = AuditEntry.objects.order_by("pk").values_list("action", "object_type", "object_id", "account_id")
    assert list(entries) == [
        ("created API key", "API key", key.pk, None),
        ("revoked API key", "API key", key.pk, None),
    ]
    assert "revoked API key" in boss.get("/admin/accounts/auditentry/").content.decode()


def test_keys_need_permissions(staff: Callable[..., Client], application: Application) -> None:
    plain = create_api_key(application=application, name="kept")
    key = ApiKey.objects.get()
    client = staff("accounts.view_apikey")
    assert "revoke" not in client.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert client.post(f"{KEYS}{key.pk}/revoke/").status_code == 403
    assert client.post(f"{KEYS}add/", {"application": application.pk, "name": "x", "scopes": "read"}).status_code == 403
    assert find_api_key(plain) == key


def test_keys_are_not_changed_or_deleted(boss: Client, application: Application) -> None:
    create_api_key(application=application, name="kept", scopes=["read"])
    key = ApiKey.objects.get()
    changed = boss.post(
        f"{KEYS}{key.pk}/change/", {"name": "other", "scopes": ["admin"], "application": application.pk}
    )
    assert changed.status_code == 403
    assert boss.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("kept", ["read"])


def test_applications_are_made_and_renamed_but_never_removed(boss: Client) -> None:
    boss.post("/admin/accounts/application/add/", {"name": "crm"})
    made = Application.objects.get(name="crm")
    boss.post(f"/admin/accounts/application/{made.pk}/change/", {"name": "sales"})
    made.refresh_from_db()
    assert made.name == "sales"
    assert boss.post(f"/admin/accounts/application/{made.pk}/delete/", {"post": "yes"}).status_code == 403
    again = boss.post("/admin/accounts/application/add/", {"name": "sales"}).content.decode()
    assert "already exists" in again


def test_audit_log_is_only_read(boss: Client, staff: Callable[..., Client], application: Application) -> None:
    make(boss, application)
    entry = AuditEntry.objects.get()
    address = f"/admin/accounts/auditentry/{entry.pk}/"
    assert "created API key" in boss.get(f"{address}change/").content.decode()
    assert boss.post(f"{address}change/", {"username": "nobody"}).status_code == 403
    assert boss.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    assert boss.get("/admin/accounts/auditentry/add/").status_code == 403
    boss.post("/admin/accounts/auditentry/", {"action": "delete_selected", "_selected_action": entry.pk, "post": "yes"})
    entry.refresh_from_db()
    assert entry.username == "boss"
    assert staff().get("/admin/accounts/auditentry/").status_code == 403


def test_audit_log_is_filtered(boss: Client, application: Application) -> None:
    make(boss, application)
    boss.post(f"{KEYS}{ApiKey.objects.get().pk}/revoke/")
    for query, count in (({}, 2), ({"action__exact": "revoked API key"}, 1), ({"q": "boss"}, 2), ({"q": "ann"}, 0)):
        assert boss.get("/admin/accounts/auditentry/", query).context["cl"].result_count == count


def test_audit_log_outlives_the_staff_member(boss: Client, application: Application) -> None:
    from django.contrib.auth.models import User

    make(boss, application)
    User.objects.get(username="boss").delete()
    entry = AuditEntry.objects.get()
    assert (entry.user_id, entry.username) == (None, "boss")
