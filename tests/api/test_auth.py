"""Keys, their scopes, and whose grants they see."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.keys import SCOPES, UnknownScope, create_api_key, find_api_key
from accounts.models import ApiKey, Application
from accounts.services import default_application
from tests.api.client import Api
from tests.api.conftest import ALIASES
from tests.api.mailbox import Mailroom, make_mailroom

pytestmark = pytest.mark.django_db(databases=ALIASES)


def test_a_key_is_stored_as_its_hash_alone(application: Application) -> None:
    key = create_api_key(application=application, name="reader")
    stored = ApiKey.objects.get()
    assert key.startswith(stored.prefix)
    assert len(key) == 12 + 43
    assert key[12:] not in str(vars(stored))
    found = find_api_key(key)
    assert found is not None
    assert (found.pk, found.scopes) == (stored.pk, list(SCOPES))


def test_a_scope_that_does_not_exist_is_refused(application: Application) -> None:
    for scopes in (["root"], []):
        with pytest.raises(UnknownScope):
            create_api_key(application=application, name="x", scopes=scopes)


def test_using_a_key_is_noted_once_a_minute(application: Application) -> None:
    key = create_api_key(application=application, name="x")
    find_api_key(key)
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    find_api_key(key)
    assert ApiKey.objects.get().last_used_at == first


def test_a_request_without_a_valid_key_is_401(room: Mailroom) -> None:
    caller = Api(None, Client())
    for given in (
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer wrong",
        "Bearer mm_000000000",
        "Bearer \xff\xfe",
        "bearer a b",
    ):
        error = caller.error(f"{room.path}/messages", status=401, HTTP_AUTHORIZATION=given)
        assert error["type"] == "unauthorized"
    assert caller.call("GET", f"{room.path}/messages").headers["WWW-Authenticate"] == "Bearer"


def test_a_key_whose_last_letter_differs_is_refused(api: Api, room: Mailroom) -> None:
    assert api.key is not None
    wrong = api.key[:-1] + ("A" if api.key[-1] != "A" else "B")
    assert Api(wrong, api.client).error(room.path, status=401)["type"] == "unauthorized"


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_key_that_ended_is_401_at_once(api: Api, room: Mailroom, column: str) -> None:
    api.get(room.path)
    ApiKey.objects.update(**{column: timezone.now() - timedelta(seconds=1)})
    api.error(room.path, status=401)


def test_the_word_bearer_may_be_written_in_any_case(api: Api, room: Mailroom) -> None:
    caller = Api(None, api.client)
    caller.get(room.path, HTTP_AUTHORIZATION=f"bearer {api.key}")
    caller.get(room.path, HTTP_AUTHORIZATION=f"BEARER  {api.key}")


@pytest.mark.parametrize(
    ("scope", "method", "path"),
    [
        ("read", "POST", "/v3/connect/custom"),
        ("read", "POST", "{grant}/sync"),
        ("read", "DELETE", "{grant}"),
        ("write", "GET", "{grant}/messages"),
        ("write", "DELETE", "{grant}"),
        ("admin", "GET", "{grant}/messages"),
    ],
)
def test_a_key_without_the_scope_is_403(room: Mailroom, scope: str, method: str, path: str) -> None:
    key = create_api_key(application=default_application(), name="x", scopes=[scope])
    error = Api(key, Client()).error(path.format(grant=room.path), status=403, method=method)
    assert error["type"] == "insufficient_scopes"


def test_a_key_sees_the_grants_of_its_application_alone(api: Api, room: Mailroom) -> None:
    other = default_application("other")
    stranger = Api(create_api_key(application=other, name="x"), api.client)
    make_mailroom(other, "eve@example.org")
    room.add(b"Subject: secret\r\n\r\nx")
    for path in (room.path, f"{room.path}/messages", "/v3/grants/ada@example.org", f"{room.path}/changes"):
        assert stranger.error(path, status=404)["type"] == "not_found_error"
    assert [one["email"] for one in stranger.get("/v3/grants")["data"]] == ["eve@example.org"]
    assert [one["email"] for one in api.get("/v3/grants")["data"]] == ["ada@example.org"]
    assert stranger.error(room.path, status=404, method="DELETE")["type"] == "not_found_error"


def test_a_foreign_grant_looks_like_an_unknown_one(api: Api) -> None:
    foreign = make_mailroom(default_application("other"), "eve@example.org")
    for path in (f"{foreign.path}/messages", "/v3/grants/123456/messages"):
        assert api.error(path, status=404)["message"] == "no such grant"


@pytest.mark.parametrize(
    "spelling",
    ["{id}", "grant:{id}", "{email}", "email:{email}", "A+B@Example.org", "a%2Bb%40example.org", "email%3A{email}"],
)
def test_a_grant_may_be_named_in_each_spelling(api: Api, application: Application, spelling: str) -> None:
    room = make_mailroom(application, "a+b@example.org", shard=1)
    path = "/v3/grants/" + spelling.format(id=room.id, email="a+b@example.org")
    assert api.get(path)["data"]["id"] == str(room.id)
    assert api.get(f"{path}/messages")["data"] == []


def test_what_names_no_grant_is_404(api: Api) -> None:
    for name in ("external:7", "grant:x", "email:x", "0", "-1", "1.0", "%00@x", "9" * 30, "@", "٣"):
        assert api.error(f"/v3/grants/{name}/messages", status=404)["type"] == "not_found_error"


def test_a_key_has_no_grant_of_its_own(api: Api, room: Mailroom) -> None:
    assert "access token" in api.error("/v3/grants/me", status=400)["message"]
